// RUN: gradweave-opt %s -p 'convert-train-to-tile' | filecheck %s

// Where tensors live.

// A result that nothing reads again has its home in DRAM and leaves by panels. Here DRAM binds, whatever their size; all of it takes less
// room than two tiles of n. A transposed weight is only another order of the axes.
// CHECK-LABEL: tile.program @panels
// CHECK:       [[W:%.*]] = tile.tensor "param" "w" : memref<50x64xf32, "dram">
// CHECK:       [[Y:%.*]] = tile.tensor "scratch" "y" : memref<40x50xf32, "dram">
// CHECK-NEXT:  [[PANEL:%.*]] = tile.buffer "fc.Y.panels" ring 1 : memref<40x50xf32, "spad">
// CHECK-NEXT:  tile.nest rows "k" cols "n" stream "b" layer "fc" product "fwd"
// CHECK-NEXT:    tile.stage "out" [[Y]] "bn" as "Y" panel [[PANEL]] by ""
// CHECK-NEXT:    tile.for "k" to 64 step 32 {
// CHECK-NEXT:      tile.for "n" to 50 step 32 {
// CHECK-NEXT:        tile.resident [[W]] "nk" as "W"
// CHECK-NEXT:        tile.for "b" to 40 step 1 {
// CHECK-NEXT:          tile.beat "fwd" computes "fwd" over "k"({{%.*}} "bk" as "X", [[PANEL]] "bn" as "Y")
// CHECK:       tile.publish "y" [[Y]]
train.graph @panels {
  %x = train.leaf "input" "x" : tensor<40x64xf32>
  %w = train.leaf "param" "w" : tensor<50x64xf32>
  %y = train.product "bk,nk->bn"(%x, %w) layer "fc" role "fwd" : (tensor<40x64xf32>, tensor<50x64xf32>) -> tensor<40x50xf32>
  train.output "output" "y" %y : tensor<40x50xf32>
}

// A result that something reads again stays in the scratchpad as a whole, and is copied out if the user wants it too.
// CHECK-LABEL: tile.program @kept
// CHECK:       [[H:%.*]] = tile.buffer "fc.Y" : memref<40x50xf32, "spad">
// CHECK:       tile.nest
// CHECK:         tile.for "k" to 64 step 32 {
// CHECK-NEXT:      tile.for "n" to 50 step 32 {
// CHECK-NOT:   tile.stage
// CHECK:       tile.copy [[H]] to [[OUT:%.*]] layer "fc"
// CHECK-NEXT:  tile.publish "h" [[OUT]]
// CHECK:       tile.map "relu"([[H]])
train.graph @kept {
  %x = train.leaf "input" "x" : tensor<40x64xf32>
  %w = train.leaf "param" "w" : tensor<64x50xf32>
  %h = train.product "bk,kn->bn"(%x, %w) layer "fc" role "fwd" : (tensor<40x64xf32>, tensor<64x50xf32>) -> tensor<40x50xf32>
  %y = train.map "relu"(%h) layer "act" role "fwd" : (tensor<40x50xf32>) -> tensor<40x50xf32>
  train.output "output" "h" %h : tensor<40x50xf32>
  train.output "output" "y" %y : tensor<40x50xf32>
}

// Batched products: one loop more around the tiles.
// CHECK-LABEL: tile.program @heads
// CHECK:       tile.nest rows "k" cols "n" stream "b" layer "qk" product "dx+dw" macs 8400 {
// CHECK-NEXT:    tile.for "g" to 3 step 1 {
// CHECK-NEXT:      tile.stage "out" {{%.*}} "gbk" as "dX" panel {{%.*}} by "g" : {{.*}}, memref<1x5x40xf32, "spad">
// CHECK-NEXT:      tile.for "n" to 7 step 32 {
// CHECK-NEXT:        tile.for "k" to 40 step 32 {
// CHECK-NEXT:          tile.resident {{%.*}} "gkn" as "W"
// CHECK:                 tile.beat "dx" computes "dx" over "n"({{%.*}} "gbn" as "dY", {{%.*}} "gbk" as "dX") : {{.*}}, memref<1x5x40xf32, "spad">
// CHECK:             tile.drain {{%.*}} "gkn" as "dW"
train.graph @heads {
  %q = train.leaf "input" "q" : tensor<3x5x40xf32>
  %k = train.leaf "param" "k" : tensor<3x40x7xf32>
  %dy = train.leaf "input" "grad/y" : tensor<3x5x7xf32>
  %dx = train.product "gbn,gkn->gbk"(%dy, %k) layer "qk" role "dx" : (tensor<3x5x7xf32>, tensor<3x40x7xf32>) -> tensor<3x5x40xf32>
  %dw = train.product "gbk,gbn->gkn"(%q, %dy) layer "qk" role "dw" : (tensor<3x5x40xf32>, tensor<3x5x7xf32>) -> tensor<3x40x7xf32>
  train.output "grad" "grad/q" %dx : tensor<3x5x40xf32>
  train.output "grad" "grad/k" %dw : tensor<3x40x7xf32>
}

// The vector unit: a constant of one number is the immediate, a longer one a tensor in DRAM; a reshape is another view of the same words.
// CHECK-LABEL: tile.program @vectors
// CHECK:       [[A:%.*]] = tile.buffer "a.fma" : memref<2x3xf32, "spad">
// CHECK-NEXT:  tile.map "fma"({{%.*, %.*}}) imm 2.000000e+00 at [1 : i64] to [[A]] layer "a" product "vector"
// CHECK-NEXT:  [[V:%.*]] = tile.view [[A]] : memref<2x3xf32, "spad"> to memref<3x2xf32, "spad">
// CHECK:       tile.transpose [[V]] perm [1 : i64, 0 : i64] to
// CHECK-NEXT:  tile.tensor "constant" "constant" value dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]>
// CHECK:       tile.map "mul"
// CHECK:       tile.reduce "max" {{%.*}} to [[M:%.*]] layer "a"
// CHECK:       tile.copy [[M]] to
train.graph @vectors {
  %x = train.leaf "input" "x" : tensor<2x3xf32>
  %b = train.leaf "param" "b" : tensor<3xf32>
  %two = train.constant dense<2.0> : tensor<f32>
  %list = train.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %0 = train.map "fma"(%x, %two, %b) layer "a" role "fwd" : (tensor<2x3xf32>, tensor<f32>, tensor<3xf32>) -> tensor<2x3xf32>
  %1 = train.reshape %0 layer "a" role "fwd" : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %2 = train.transpose %1 perm [1, 0] layer "a" role "fwd" : (tensor<3x2xf32>) -> tensor<2x3xf32>
  %3 = train.map "mul"(%2, %list) layer "a" role "fwd" : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %4 = train.reduce "max" %3 axes [0] layer "a" role "fwd" : (tensor<2x3xf32>) -> tensor<1x3xf32>
  train.output "output" "y" %4 : tensor<1x3xf32>
}
