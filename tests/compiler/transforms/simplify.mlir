// RUN: gradweave-opt %s -p 'simplify' | filecheck %s

// CHECK-LABEL: train.graph @neutral
// CHECK-NEXT:  [[X:%.*]] = train.leaf
// CHECK-NEXT:  train.output "output" "y" [[X]]
train.graph @neutral {
  %x = train.leaf "input" "x" : tensor<2x1xf32>
  %one = train.constant dense<1.0> : tensor<f32>
  %zero = train.constant dense<0.0> : tensor<f32>
  %a = train.map "mul"(%one, %x) layer "a" role "fwd" : (tensor<f32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  %b = train.map "sub"(%a, %zero) layer "a" role "fwd" : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %c = train.map "div"(%b, %one) layer "a" role "fwd" : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %d = train.map "copy"(%c) layer "a" role "fwd" : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %e = train.reduce "sum" %d axes [1] layer "a" role "fwd" : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %f = train.transpose %e perm [1, 0] layer "a" role "fwd" : (tensor<2x1xf32>) -> tensor<1x2xf32>
  %g = train.reshape %f layer "a" role "fwd" : (tensor<1x2xf32>) -> tensor<2xf32>
  %h = train.reshape %g layer "a" role "fwd" : (tensor<2xf32>) -> tensor<2x1xf32>
  train.output "output" "y" %h : tensor<2x1xf32>
}

// Kept: 0 − x and 1 / x are not x, and a marked copy stops the gradient.
// CHECK-LABEL: train.graph @kept
// CHECK:       "sub"
// CHECK-NEXT:  "div"
// CHECK-NEXT:  "copy"{{.*}}stop_gradient
train.graph @kept {
  %x = train.leaf "input" "x" : tensor<2xf32>
  %one = train.constant dense<1.0> : tensor<f32>
  %zero = train.constant dense<0.0> : tensor<f32>
  %a = train.map "sub"(%zero, %x) layer "a" role "fwd" : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %b = train.map "div"(%one, %a) layer "a" role "fwd" : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %c = train.map "copy"(%b) layer "a" role "fwd" {stop_gradient} : (tensor<2xf32>) -> tensor<2xf32>
  train.output "output" "y" %c : tensor<2xf32>
}

// Equal work in two layers is done once, in the first; numbers are computed here; broadcasts sink and end in the function that broadcasts.
// CHECK-LABEL: train.graph @common
// CHECK:       [[X:%.*]] = train.leaf "input" "x"
// CHECK-NEXT:  [[Z:%.*]] = train.leaf "input" "z"
// CHECK-NEXT:  [[E:%.*]] = train.map "exp"([[Z]]) layer "a" role "fwd" : (tensor<1x3xf32>) -> tensor<1x3xf32>
// CHECK-NEXT:  [[C:%.*]] = train.constant dense<6.000000e+00> : tensor<f32>
// CHECK-NEXT:  [[M:%.*]] = train.map "fma"([[X]], [[E]], [[C]]) layer "a"
// CHECK-NEXT:  train.output "output" "y" [[M]]
// CHECK-NEXT:  train.output "output" "z" [[M]]
// CHECK-NEXT:  }
train.graph @common {
  %x = train.leaf "input" "x" : tensor<2x3xf32>
  %z = train.leaf "input" "z" : tensor<1x3xf32>
  %two = train.constant dense<2.0> : tensor<2x3xf32>
  %three = train.constant dense<3.0> : tensor<f32>
  %w = train.broadcast %z layer "a" role "fwd" : (tensor<1x3xf32>) -> tensor<2x3xf32>
  %e = train.map "exp"(%w) layer "a" role "fwd" : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %six = train.map "mul"(%two, %three) layer "a" role "fwd" : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
  %a = train.map "fma"(%x, %e, %six) layer "a" role "fwd" : (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %b = train.map "fma"(%x, %e, %six) layer "b" role "grad" : (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %dead = train.map "neg"(%b) layer "b" role "grad" : (tensor<2x3xf32>) -> tensor<2x3xf32>
  train.output "output" "y" %a : tensor<2x3xf32>
  train.output "output" "z" %b : tensor<2x3xf32>
}

// Transposes of operands and of the result are only other orders of the axes.
// CHECK-LABEL: train.graph @transposes
// CHECK:       [[X:%.*]] = train.leaf "input" "x"
// CHECK-NEXT:  [[W:%.*]] = train.leaf "param" "w"
// CHECK-NEXT:  [[Y:%.*]] = train.product "gkb,gnk->gnb"([[X]], [[W]]) layer "fc" role "fwd" : (tensor<7x4x2xf32>, tensor<7x3x4xf32>) -> tensor<7x3x2xf32>
// CHECK-NEXT:  train.output "output" "y" [[Y]]
train.graph @transposes {
  %x = train.leaf "input" "x" : tensor<7x4x2xf32>
  %w = train.leaf "param" "w" : tensor<7x3x4xf32>
  %a = train.transpose %x perm [0, 2, 1] layer "fc" role "fwd" : (tensor<7x4x2xf32>) -> tensor<7x2x4xf32>
  %b = train.transpose %w perm [0, 2, 1] layer "fc" role "fwd" : (tensor<7x3x4xf32>) -> tensor<7x4x3xf32>
  %c = train.product "gbk,gkn->gbn"(%a, %b) layer "fc" role "fwd" : (tensor<7x2x4xf32>, tensor<7x4x3xf32>) -> tensor<7x2x3xf32>
  %d = train.transpose %c perm [0, 2, 1] layer "fc" role "fwd" : (tensor<7x2x3xf32>) -> tensor<7x3x2xf32>
  train.output "output" "y" %d : tensor<7x3x2xf32>
}

// A batch axis that a transpose moves away from the front stays transposed.
// CHECK-LABEL: train.graph @heads
// CHECK:       train.transpose
train.graph @heads {
  %x = train.leaf "input" "x" : tensor<2x7x4xf32>
  %w = train.leaf "param" "w" : tensor<7x4x3xf32>
  %a = train.transpose %x perm [1, 0, 2] layer "fc" role "fwd" : (tensor<2x7x4xf32>) -> tensor<7x2x4xf32>
  %c = train.product "gbk,gkn->gbn"(%a, %w) layer "fc" role "fwd" : (tensor<7x2x4xf32>, tensor<7x4x3xf32>) -> tensor<7x2x3xf32>
  train.output "output" "y" %c : tensor<7x2x3xf32>
}

// Convolutions: dimensions that are expressions move as a whole, and the result keeps its declared size.
// CHECK-LABEL: train.graph @channels_last
// CHECK:       [[X:%.*]] = train.leaf "input" "x"
// CHECK-NEXT:  [[W:%.*]] = train.leaf "param" "w"
// CHECK-NEXT:  [[Y:%.*]] = train.product "b(2x+s)(3g+k),sk(4g+n)->bx(4g+n)"([[X]], [[W]])
// CHECK-SAME:    -> tensor<2x3x8xf32>
// CHECK-NEXT:  train.output "output" "y" [[Y]]
train.graph @channels_last {
  %x = train.leaf "input" "x" : tensor<2x7x6xf32>
  %w = train.leaf "param" "w" : tensor<2x3x8xf32>
  %a = train.transpose %x perm [0, 2, 1] layer "conv" role "fwd" : (tensor<2x7x6xf32>) -> tensor<2x6x7xf32>
  %b = train.transpose %w perm [2, 1, 0] layer "conv" role "fwd" : (tensor<2x3x8xf32>) -> tensor<8x3x2xf32>
  %c = train.product "b(3g+k)(2x+s),(4g+n)ks->b(4g+n)x"(%a, %b) layer "conv" role "fwd" : (tensor<2x6x7xf32>, tensor<8x3x2xf32>) -> tensor<2x8x3xf32>
  %d = train.transpose %c perm [0, 2, 1] layer "conv" role "fwd" : (tensor<2x8x3xf32>) -> tensor<2x3x8xf32>
  train.output "output" "y" %d : tensor<2x3x8xf32>
}

// CHECK-LABEL: train.graph @transposed_convolution
// CHECK:       train.product "bkx,kns->b(2x+s)n"
// CHECK-SAME:    -> tensor<1x8x4xf32>
train.graph @transposed_convolution {
  %x = train.leaf "input" "x" : tensor<1x2x3xf32>
  %w = train.leaf "param" "w" : tensor<2x4x3xf32>
  %c = train.product "bkx,kns->bn(2x+s)"(%x, %w) layer "conv" role "fwd" : (tensor<1x2x3xf32>, tensor<2x4x3xf32>) -> tensor<1x4x8xf32>
  %d = train.transpose %c perm [0, 2, 1] layer "conv" role "fwd" : (tensor<1x4x8xf32>) -> tensor<1x8x4xf32>
  train.output "output" "y" %d : tensor<1x8x4xf32>
}

// Regions that are everything, slices of slices, padding of padding, and padding that is cut off again.
// CHECK-LABEL: train.graph @regions
// CHECK:       [[X:%.*]] = train.leaf "input" "x"
// CHECK-NEXT:  [[S:%.*]] = train.slice [[X]] from [1 : i64, 4 : i64] by [1 : i64, 6 : i64]
// CHECK-NEXT:  train.output "output" "slice" [[S]]
// CHECK-NEXT:  [[P:%.*]] = train.place [[X]] at [1 : i64, 3 : i64] by [2 : i64, 1 : i64] in 0.000000e+00
// CHECK-NEXT:  train.output "output" "place" [[P]]
// CHECK-NEXT:  [[M:%.*]] = train.place
// CHECK-NEXT:  [[N:%.*]] = train.place [[M]]
// CHECK-NEXT:  train.output "output" "other" [[N]]
// CHECK-NEXT:  train.output "output" "cut" [[X]]
train.graph @regions {
  %x = train.leaf "input" "x" : tensor<3x12xf32>
  %a = train.slice %x from [0, 0] by [1, 1] layer "a" role "fwd" : (tensor<3x12xf32>) -> tensor<3x12xf32>
  %b = train.slice %a from [0, 1] by [1, 3] layer "a" role "fwd" : (tensor<3x12xf32>) -> tensor<3x4xf32>
  %c = train.slice %b from [1, 1] by [1, 2] layer "a" role "fwd" : (tensor<3x4xf32>) -> tensor<2x2xf32>
  train.output "output" "slice" %c : tensor<2x2xf32>
  %d = train.place %x at [0, 1] by [1, 1] in 0.0 layer "a" role "fwd" : (tensor<3x12xf32>) -> tensor<3x14xf32>
  %e = train.place %d at [1, 2] by [2, 1] in 0.0 layer "a" role "fwd" : (tensor<3x14xf32>) -> tensor<6x16xf32>
  train.output "output" "place" %e : tensor<6x16xf32>
  %f = train.place %x at [0, 1] by [1, 1] in 1.0 layer "a" role "fwd" : (tensor<3x12xf32>) -> tensor<3x14xf32>
  %g = train.place %f at [0, 0] by [1, 1] in 0.0 layer "a" role "fwd" : (tensor<3x14xf32>) -> tensor<4x14xf32>
  train.output "output" "other" %g : tensor<4x14xf32>
  %h = train.slice %d from [0, 1] by [1, 1] layer "a" role "fwd" : (tensor<3x14xf32>) -> tensor<3x12xf32>
  train.output "output" "cut" %h : tensor<3x12xf32>
}

// Splitting undoes concatenation; equal padding is done once.
// CHECK-LABEL: train.graph @parts
// CHECK:       [[X:%.*]] = train.leaf "input" "x"
// CHECK-NEXT:  [[Z:%.*]] = train.leaf "input" "z"
// CHECK-NEXT:  [[C:%.*]] = train.concat([[X]], [[Z]]) axis 1
// CHECK-NEXT:  train.output "output" "z" [[Z]]
// CHECK-NEXT:  [[S:%.*]] = train.slice [[Z]] from [0 : i64, 1 : i64]
// CHECK-NEXT:  train.output "output" "some" [[S]]
// CHECK-NEXT:  [[B:%.*]] = train.slice [[C]] from [0 : i64, 1 : i64]
// CHECK-NEXT:  train.output "output" "both" [[B]]
// CHECK-NEXT:  [[N:%.*]] = train.slice [[Z]] from [0 : i64, 2 : i64] by [1 : i64, -1 : i64]
// CHECK-NEXT:  train.output "output" "back" [[N]]
// CHECK-NEXT:  [[M:%.*]] = train.slice [[C]] from [0 : i64, 2 : i64] by [1 : i64, -1 : i64]
// CHECK-NEXT:  train.output "output" "both back" [[M]]
// CHECK-NEXT:  [[R:%.*]] = train.slice [[X]] from [0 : i64, 1 : i64] by [1 : i64, -1 : i64]
// CHECK-NEXT:  train.output "output" "all back" [[R]]
// CHECK-NEXT:  train.output "output" "one" [[X]]
// CHECK-NEXT:  [[P:%.*]] = train.place [[X]]
// CHECK-NEXT:  train.output "output" "pad" [[P]]
// CHECK-NEXT:  train.output "output" "pad again" [[P]]
// CHECK-NEXT:  }
train.graph @parts {
  %x = train.leaf "input" "x" : tensor<2x2xf32>
  %z = train.leaf "input" "z" : tensor<2x3xf32>
  %a = train.concat(%x, %z) axis 1 layer "a" role "fwd" : (tensor<2x2xf32>, tensor<2x3xf32>) -> tensor<2x5xf32>
  %b = train.slice %a from [0, 2] by [1, 1] layer "b" role "fwd" : (tensor<2x5xf32>) -> tensor<2x3xf32>
  train.output "output" "z" %b : tensor<2x3xf32>
  %c = train.slice %a from [0, 3] by [1, 1] layer "b" role "fwd" : (tensor<2x5xf32>) -> tensor<2x2xf32>
  train.output "output" "some" %c : tensor<2x2xf32>
  %d = train.slice %a from [0, 1] by [1, 1] layer "b" role "fwd" : (tensor<2x5xf32>) -> tensor<2x2xf32>
  train.output "output" "both" %d : tensor<2x2xf32>
  %n = train.slice %a from [0, 4] by [1, -1] layer "b" role "fwd" : (tensor<2x5xf32>) -> tensor<2x2xf32>
  train.output "output" "back" %n : tensor<2x2xf32>
  %m = train.slice %a from [0, 2] by [1, -1] layer "b" role "fwd" : (tensor<2x5xf32>) -> tensor<2x2xf32>
  train.output "output" "both back" %m : tensor<2x2xf32>
  %r = train.slice %x from [0, 1] by [1, -1] layer "b" role "fwd" : (tensor<2x2xf32>) -> tensor<2x2xf32>
  train.output "output" "all back" %r : tensor<2x2xf32>
  %e = train.concat(%x) axis 0 layer "c" role "fwd" : (tensor<2x2xf32>) -> tensor<2x2xf32>
  train.output "output" "one" %e : tensor<2x2xf32>
  %f = train.place %x at [1, 1] by [1, 1] in 0.0 layer "d" role "fwd" : (tensor<2x2xf32>) -> tensor<4x4xf32>
  train.output "output" "pad" %f : tensor<4x4xf32>
  %g = train.place %x at [1, 1] by [1, 1] in 0.0 layer "e" role "fwd" : (tensor<2x2xf32>) -> tensor<4x4xf32>
  train.output "output" "pad again" %g : tensor<4x4xf32>
}
