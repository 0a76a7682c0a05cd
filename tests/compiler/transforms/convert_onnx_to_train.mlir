// RUN: gradweave-opt %s -p 'convert-onnx-to-train' | filecheck %s

// Strided, padded, in two groups of 4 input and 3 output channels, with a bias.
// 9 rows and 8 columns padded by 1 in front; rows need 1 behind ((5−1)·2+3 = 11), columns 0 ((4−1)·2+3 = 9).
onnx.graph @grouped {
  %x = onnx.input "x" : tensor<2x8x9x8xf32>
  %w = onnx.param "w" : tensor<6x4x3x3xf32>
  %b = onnx.param "b" : tensor<6xf32>
  %y = onnx.Conv "conv"(%x, %w, %b) {group = 2 : i64, pads = [1 : i64, 1 : i64, 1 : i64, 1 : i64], strides = [2 : i64, 2 : i64]}
    : (tensor<2x8x9x8xf32>, tensor<6x4x3x3xf32>, tensor<6xf32>) -> tensor<2x6x5x4xf32>
  onnx.output "y" %y : tensor<2x6x5x4xf32>
}

// CHECK-LABEL: train.graph @grouped
// CHECK-NEXT:  [[X:%.*]] = train.leaf "input" "x"
// CHECK-NEXT:  [[W:%.*]] = train.leaf "param" "w"
// CHECK-NEXT:  [[B:%.*]] = train.leaf "param" "b"
// CHECK-NEXT:  [[P:%.*]] = train.place [[X]] at [0 : i64, 0 : i64, 1 : i64, 1 : i64] by [1 : i64, 1 : i64, 1 : i64, 1 : i64] in 0.000000e+00 layer "conv" role "fwd" : (tensor<2x8x9x8xf32>) -> tensor<2x8x11x9xf32>
// CHECK-NEXT:  [[Y:%.*]] = train.product "b(4g+k)(2y+r)(2x+s),(3g+n)krs->b(3g+n)yx"([[P]], [[W]]) layer "conv" role "fwd" : (tensor<2x8x11x9xf32>, tensor<6x4x3x3xf32>) -> tensor<2x6x5x4xf32>
// CHECK-NEXT:  [[C:%.*]] = train.reshape [[B]] layer "conv" role "fwd" : (tensor<6xf32>) -> tensor<1x6x1x1xf32>
// CHECK-NEXT:  [[Z:%.*]] = train.map "add"([[Y]], [[C]]) layer "conv" role "fwd"
// CHECK-NEXT:  train.output "output" "y" [[Z]]
// CHECK-NEXT:  }

// Depthwise, dilated, nothing padded; then 1×1 as a matrix product over pixels.
onnx.graph @separable {
  %x = onnx.input "x" : tensor<2x8x9x8xf32>
  %w = onnx.param "w" : tensor<8x1x3x2xf32>
  %v = onnx.param "v" : tensor<5x8x1x1xf32>
  %d = onnx.Conv "depthwise"(%x, %w) {group = 8 : i64, dilations = [3 : i64, 1 : i64]}
    : (tensor<2x8x9x8xf32>, tensor<8x1x3x2xf32>) -> tensor<2x8x3x7xf32>
  %y = onnx.Conv "pointwise"(%d, %v) : (tensor<2x8x3x7xf32>, tensor<5x8x1x1xf32>) -> tensor<2x5x3x7xf32>
  onnx.output "y" %y : tensor<2x5x3x7xf32>
}

// CHECK-LABEL: train.graph @separable
// CHECK:       [[D:%.*]] = train.product "b(g+k)(y+3r)(x+s),(g+n)krs->b(g+n)yx"({{%.*, %.*}}) layer "depthwise" role "fwd" : (tensor<2x8x9x8xf32>, tensor<8x1x3x2xf32>) -> tensor<2x8x3x7xf32>
// CHECK-NEXT:  [[F:%.*]] = train.reshape [[D]] layer "pointwise" role "fwd" : (tensor<2x8x3x7xf32>) -> tensor<2x8x21xf32>
// CHECK-NEXT:  [[V:%.*]] = train.reshape {{%.*}} layer "pointwise" role "fwd" : (tensor<5x8x1x1xf32>) -> tensor<5x8xf32>
// CHECK-NEXT:  [[Y:%.*]] = train.product "bkp,nk->bnp"([[F]], [[V]]) layer "pointwise" role "fwd" : (tensor<2x8x21xf32>, tensor<5x8xf32>) -> tensor<2x5x21xf32>
// CHECK-NEXT:  [[Z:%.*]] = train.reshape [[Y]] layer "pointwise" role "fwd" : (tensor<2x5x21xf32>) -> tensor<2x5x3x7xf32>
// CHECK-NEXT:  train.output "output" "y" [[Z]]

// One spatial dimension. SAME_LOWER: (4−1)·2+4 = 10 entries are needed, 7 are there, two of three go in front.
onnx.graph @line {
  %x = onnx.input "x" : tensor<2x3x7xf32>
  %w = onnx.param "w" : tensor<5x3x4xf32>
  %y = onnx.Conv "conv"(%x, %w) {auto_pad = "SAME_LOWER", strides = [2 : i64]} : (tensor<2x3x7xf32>, tensor<5x3x4xf32>) -> tensor<2x5x4xf32>
  onnx.output "y" %y : tensor<2x5x4xf32>
}

// CHECK-LABEL: train.graph @line
// CHECK:       train.place {{%.*}} at [0 : i64, 0 : i64, 2 : i64] by [1 : i64, 1 : i64, 1 : i64] in 0.000000e+00 layer "conv" role "fwd" : (tensor<2x3x7xf32>) -> tensor<2x3x10xf32>
// CHECK-NEXT:  train.product "bk(2x+s),nks->bnx"

// One tap with a stride meets every other pixel: the others are not read.
onnx.graph @strided {
  %x = onnx.input "x" : tensor<2x3x7x6xf32>
  %w = onnx.param "w" : tensor<5x3x1x1xf32>
  %y = onnx.Conv "conv"(%x, %w) {strides = [2 : i64, 3 : i64]} : (tensor<2x3x7x6xf32>, tensor<5x3x1x1xf32>) -> tensor<2x5x4x2xf32>
  onnx.output "y" %y : tensor<2x5x4x2xf32>
}

// CHECK-LABEL: train.graph @strided
// CHECK:       [[MET:%.*]] = train.slice {{%.*}} from [0 : i64, 0 : i64, 0 : i64, 0 : i64] by [1 : i64, 1 : i64, 2 : i64, 3 : i64] layer "conv" role "fwd" : (tensor<2x3x7x6xf32>) -> tensor<2x3x4x2xf32>
// CHECK-NEXT:  [[W:%.*]] = train.reshape {{%.*}} layer "conv" role "fwd" : (tensor<5x3x1x1xf32>) -> tensor<5x3xf32>
// CHECK-NEXT:  train.product "bkyx,nk->bnyx"([[MET]], [[W]])

// A transposed convolution spreads each pixel: rows reach (3−1)·2+3 = 7, of which 1 is cut off in front and 1 behind; one column more than
// the 3·1+2 = 5 that are reached.
onnx.graph @transposed {
  %x = onnx.input "x" : tensor<2x4x3x4xf32>
  %w = onnx.param "w" : tensor<4x3x3x2xf32>
  %y = onnx.ConvTranspose "up"(%x, %w)
    {group = 2 : i64, strides = [2 : i64, 1 : i64], pads = [1 : i64, 0 : i64, 1 : i64, 0 : i64], output_padding = [0 : i64, 1 : i64]}
    : (tensor<2x4x3x4xf32>, tensor<4x3x3x2xf32>) -> tensor<2x6x5x6xf32>
  onnx.output "y" %y : tensor<2x6x5x6xf32>
}

// CHECK-LABEL: train.graph @transposed
// CHECK:       [[Y:%.*]] = train.product "b(2g+k)yx,(2g+k)nrs->b(3g+n)(2y+r)(x+s)"({{%.*, %.*}}) layer "up" role "fwd" : (tensor<2x4x3x4xf32>, tensor<4x3x3x2xf32>) -> tensor<2x6x7x6xf32>
// CHECK-NEXT:  [[Z:%.*]] = train.slice [[Y]] from [0 : i64, 0 : i64, 1 : i64, 0 : i64] by [1 : i64, 1 : i64, 1 : i64, 1 : i64] layer "up" role "fwd" : (tensor<2x6x7x6xf32>) -> tensor<2x6x5x6xf32>
// CHECK-NEXT:  train.output "output" "y" [[Z]]

// Pools are one operation each. With ceil_mode the last window of 6 entries by 2 reaches to the 7th, which is padding that does not count.
onnx.graph @pools {
  %x = onnx.input "x" : tensor<1x2x6xf32>
  %m = onnx.MaxPool "max"(%x) {kernel_shape = [3 : i64], pads = [1 : i64, 0 : i64], strides = [2 : i64]}
    : (tensor<1x2x6xf32>) -> tensor<1x2x3xf32>
  %a = onnx.AveragePool "average"(%x) {kernel_shape = [3 : i64], strides = [2 : i64], ceil_mode = 1 : i64}
    : (tensor<1x2x6xf32>) -> tensor<1x2x3xf32>
  %s = onnx.Sum "sum"(%m, %a, %m) : (tensor<1x2x3xf32>, tensor<1x2x3xf32>, tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  onnx.output "s" %s : tensor<1x2x3xf32>
}

// CHECK-LABEL: train.graph @pools
// CHECK:       [[P:%.*]] = train.place {{%.*}} at [0 : i64, 0 : i64, 1 : i64] by [1 : i64, 1 : i64, 1 : i64] in -3.402823{{.*}}e+38 layer "max" role "fwd" : (tensor<1x2x6xf32>) -> tensor<1x2x7xf32>
// CHECK-NEXT:  [[M:%.*]] = train.pool "max" [[P]] kernel [1 : i64, 1 : i64, 3 : i64] strides [1 : i64, 1 : i64, 2 : i64] dilations [1 : i64, 1 : i64, 1 : i64] layer "max" role "fwd"
// CHECK-NEXT:  [[Q:%.*]] = train.place {{%.*}} at [0 : i64, 0 : i64, 0 : i64] by [1 : i64, 1 : i64, 1 : i64] in 0.000000e+00 layer "average" role "fwd" : (tensor<1x2x6xf32>) -> tensor<1x2x7xf32>
// CHECK-NEXT:  [[T:%.*]] = train.pool "sum" [[Q]] kernel [1 : i64, 1 : i64, 3 : i64] strides [1 : i64, 1 : i64, 2 : i64]
// CHECK-NEXT:  [[N:%.*]] = train.constant dense<{{\[\[\[}}3.000000e+00, 3.000000e+00, 2.000000e+00]]]> : tensor<1x1x3xf32>
// CHECK-NEXT:  [[A:%.*]] = train.map "div"([[T]], [[N]]) layer "average" role "fwd"
// CHECK-NEXT:  [[U:%.*]] = train.map "add"([[M]], [[A]])
// CHECK-NEXT:  train.map "add"([[U]], [[M]])

// Inference: per channel a factor and an offset are computed; each entry costs one operation. Running statistics are frozen.
onnx.graph @normalised {
  %x = onnx.input "x" : tensor<2x3x4xf32>
  %scale = onnx.param "scale" : tensor<3xf32>
  %b = onnx.param "b" : tensor<3xf32>
  %mean = onnx.param "mean" : tensor<3xf32>
  %var = onnx.param "var" : tensor<3xf32>
  %y = onnx.BatchNormalization "norm"(%x, %scale, %b, %mean, %var)
    : (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<2x3x4xf32>
  onnx.output "y" %y : tensor<2x3x4xf32>
}

// CHECK-LABEL: train.graph @normalised
// CHECK:       [[X:%.*]] = train.leaf "input" "x"
// CHECK-NEXT:  train.leaf "param" "scale" : tensor<3xf32>
// CHECK-NEXT:  train.leaf "param" "b" : tensor<3xf32>
// CHECK-NEXT:  train.leaf "param" "mean" {frozen} : tensor<3xf32>
// CHECK-NEXT:  train.leaf "param" "var" {frozen} : tensor<3xf32>
// CHECK:       [[Y:%.*]] = train.map "fma"([[X]], {{%.*, %.*}}) layer "norm" role "fwd" : (tensor<2x3x4xf32>, tensor<1x3x1xf32>, tensor<1x3x1xf32>) -> tensor<2x3x4xf32>
// CHECK-NEXT:  train.output "output" "y" [[Y]]
// CHECK-NOT:   -> tensor<2x3x4xf32>

// Each run of entries is a slice: 0 and 2, then 2 and 3, then 1.
onnx.graph @gathered {
  %x = onnx.input "x" : tensor<4x2xf32>
  %i = onnx.constant dense<[0, 2, -2, -1, 1]> : tensor<5xi64>
  %y = onnx.Gather "pick"(%x, %i) : (tensor<4x2xf32>, tensor<5xi64>) -> tensor<5x2xf32>
  onnx.output "y" %y : tensor<5x2xf32>
}

// CHECK-LABEL: train.graph @gathered
// CHECK:       [[A:%.*]] = train.slice {{%.*}} from [0 : i64, 0 : i64] by [2 : i64, 1 : i64] layer "pick" role "fwd" : (tensor<4x2xf32>) -> tensor<2x2xf32>
// CHECK-NEXT:  [[B:%.*]] = train.slice {{%.*}} from [2 : i64, 0 : i64] by [1 : i64, 1 : i64] layer "pick" role "fwd" : (tensor<4x2xf32>) -> tensor<2x2xf32>
// CHECK-NEXT:  [[C:%.*]] = train.slice {{%.*}} from [1 : i64, 0 : i64] by [1 : i64, 1 : i64] layer "pick" role "fwd" : (tensor<4x2xf32>) -> tensor<1x2xf32>
// CHECK-NEXT:  train.concat([[A]], [[B]], [[C]]) axis 0 layer "pick" role "fwd"
