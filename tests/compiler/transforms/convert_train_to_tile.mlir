// RUN: gradweave-opt %s -p 'convert-train-to-tile{schedule=interleaved}' | filecheck %s
// RUN: gradweave-opt %s -p 'convert-train-to-tile{schedule=interleaved fused-update=true}' | filecheck %s --check-prefix=FUSED
// RUN: gradweave-opt %s -p 'convert-train-to-tile{schedule=sequential double-buffer=false}' | filecheck %s --check-prefix=SEQ
// RUN: gradweave-opt %s -p 'convert-train-to-tile{schedule=ws}' | filecheck %s --check-prefix=WS
// RUN: gradweave-opt %s -p 'convert-train-to-tile{schedule=os}' | filecheck %s --check-prefix=OS
// RUN: gradweave-opt %s -p 'convert-train-to-tile{schedule=is}' | filecheck %s --check-prefix=IS

// One layer's gradients and its update, on the default machine of 32 x 32: k in 2 tiles, n in 2, the second one ragged.
train.graph @layer {
  %x = train.leaf "input" "x" : tensor<40x64xf32>
  %w = train.leaf "param" "w" : tensor<64x50xf32>
  %dy = train.leaf "input" "grad/y" : tensor<40x50xf32>
  %dx = train.product "bn,kn->bk"(%dy, %w) layer "fc" role "dx" : (tensor<40x50xf32>, tensor<64x50xf32>) -> tensor<40x64xf32>
  %dw = train.product "bk,bn->kn"(%x, %dy) layer "fc" role "dw" : (tensor<40x64xf32>, tensor<40x50xf32>) -> tensor<64x50xf32>
  %dz = train.map "relu_grad"(%dx, %x) layer "act" role "grad" : (tensor<40x64xf32>, tensor<40x64xf32>) -> tensor<40x64xf32>
  %new = train.update(%w, %dw) lr 0.5 momentum 0.0 decay 0.25 layer "sgd" role "update" : (tensor<64x50xf32>, tensor<64x50xf32>) -> tensor<64x50xf32>
  train.output "grad" "grad/x" %dz : tensor<40x64xf32>
  train.output "grad" "grad/w" %dw : tensor<64x50xf32>
  train.output "param" "param/w" %new : tensor<64x50xf32>
}

// Interleaved: one nest. W is resident for dX, dW accumulates in its place, and both beats name the same dY.
// CHECK:      tile.program @layer slots 2 schedule "interleaved, double buffer on, fused update off"
// CHECK-NEXT: [[GT:%.*]] = tile.buffer "g.tiles" ring 4 : memref<32x32xf32, "spad">
// CHECK-NEXT: [[WT:%.*]] = tile.buffer "w.tiles" ring 4
// CHECK:      [[W:%.*]] = tile.tensor "param" "w" : memref<64x50xf32, "dram">
// CHECK:      [[DY:%.*]] = tile.buffer "grad/y" : memref<40x50xf32, "spad">
// CHECK-NEXT: tile.copy {{%.*}} to [[DY]]
// CHECK-NEXT: [[DX:%.*]] = tile.buffer "fc.dX" : memref<40x64xf32, "spad">
// CHECK:      tile.copy {{%.*}} to [[X:%.*]] layer "fc"
// CHECK-NEXT: [[DW:%.*]] = tile.tensor "scratch" "grad/w" : memref<64x50xf32, "dram">
// CHECK-NEXT: tile.nest rows "k" cols "n" stream "b" layer "fc" product "dx+dw" macs 256000 {
// CHECK-NEXT:   tile.for "n" to 50 step 32 {
// CHECK-NEXT:     tile.for "k" to 64 step 32 {
// CHECK-NEXT:       tile.resident [[W]] "kn" as "W" through [[WT]]
// CHECK-NEXT:       tile.for "b" to 40 step 1 {
// CHECK-NEXT:         tile.beat "dx" computes "dx" over "n"([[DY]] "bn" as "dY", [[DX]] "bk" as "dX")
// CHECK-NEXT:         tile.beat "dw" computes "dw"([[X]] "bk" as "X", [[DY]] "bn" as "dY")
// CHECK-NEXT:       }
// CHECK-NEXT:       tile.drain [[DW]] "kn" as "dW" through [[GT]]
// CHECK:      tile.publish "grad/w" [[DW]]
// CHECK:      tile.map "relu_grad"([[DX]], [[X]]) to [[DZ:%.*]] layer "act" product "vector"
// CHECK:      tile.copy [[DZ]] to [[OUT:%.*]] layer "act"
// CHECK-NEXT: tile.publish "grad/x" [[OUT]]
// CHECK:      tile.sgd [[DW]] with([[W]], {{%.*, %.*}}) lr 5.000000e-01 momentum 0.000000e+00 decay 2.500000e-01 layer "w" product "update"
// CHECK-NEXT: tile.publish "param/w" [[W]]

// Update in place: the new weights leave the array, to where the old ones came from; nobody gets the gradient.
// FUSED:      tile.for "b" to 40 step 1 {
// FUSED:      }
// FUSED-NEXT: tile.update lr 5.000000e-01 decay 2.500000e-01
// FUSED-NEXT: tile.drain [[W:%.*]] "kn" as "W" through
// FUSED:      tile.publish "param/w" [[W]]
// FUSED-NOT:  grad/w
// FUSED-NOT:  tile.sgd

// Sequential: two nests with the same beats; one slot a ring, since it is not double-buffered.
// SEQ:      tile.program @layer slots 1 schedule "sequential, double buffer off, fused update off"
// SEQ:      tile.buffer "w.tiles" ring 1
// SEQ:      tile.nest rows "k" cols "n" stream "b" layer "fc" product "dx" macs 128000
// SEQ:        tile.resident {{%.*}} "kn" as "W"
// SEQ:        tile.beat "dx" computes "dx"
// SEQ-NOT:    tile.drain
// SEQ:      tile.nest rows "k" cols "n" stream "b" layer "fc" product "dw" macs 128000
// SEQ-NOT:    tile.resident
// SEQ:        tile.beat "dw" computes "dw"
// SEQ:        tile.drain {{%.*}} "kn" as "dW"

// Weight-stationary: dW holds dY and streams X; its sums leave the array, block by block of k.
// WS:      tile.nest rows "k" cols "n" stream "b" layer "fc" product "dx"
// WS:        tile.resident {{%.*}} "kn" as "W"
// WS:      [[PANEL:%.*]] = tile.buffer "fc.dW.panels" ring 2 : memref<32x50xf32, "spad">
// WS-NEXT: tile.nest rows "b" cols "n" stream "k" layer "fc" product "dw"
// WS-NEXT:   tile.for "K" to 2 step 1 {
// WS-NEXT:     tile.stage "out" {{%.*}} "(32K+k)n" as "dW" panel [[PANEL]] by "K"
// WS-NEXT:     tile.for "b" to 40 step 32 {
// WS-NEXT:     tile.for "n" to 50 step 32 {
// WS-NEXT:       tile.resident {{%.*}} "bn" as "dY" : memref<40x50xf32, "spad">
// WS-NEXT:       tile.for "k" to 32 step 1 {
// WS-NEXT:         tile.beat "fwd" computes "dw" over "b"({{%.*}} "b(32K+k)" as "X", [[PANEL]] "(32K+k)n" as "dW")

// Output-stationary: both results stay in the accumulators; W streams, panel by panel of k.
// OS:      tile.nest rows "b" cols "k" stream "n" layer "fc" product "dx"
// OS-NEXT:   tile.for "k" to 64 step 32 {
// OS-NEXT:     tile.stage "in" {{%.*}} "kn" as "W" panel [[PANEL:%.*]] by "k" : memref<64x50xf32, "dram">, memref<32x50xf32, "spad">
// OS-NEXT:     tile.for "b" to 40 step 32 {
// OS-NEXT:       tile.for "n" to 50 step 1 {
// OS-NEXT:         tile.beat "dw" computes "dx"({{%.*}} "bn" as "dY", [[PANEL]] "kn" as "W")
// OS-NEXT:       }
// OS-NEXT:       tile.drain {{%.*}} "bk" as "dX" : memref<40x64xf32, "spad">
// OS:      tile.nest rows "k" cols "n" stream "b" layer "fc" product "dw"
// OS:        tile.beat "dw" computes "dw"
// OS:        tile.drain {{%.*}} "kn" as "dW"

// Input-stationary: dX holds dY and streams W, dW holds X and streams dY; what streams goes in blocks, to come and go behind the beats.
// IS:      tile.nest rows "b" cols "n" stream "k" layer "fc" product "dx"
// IS-NEXT:   tile.for "K" to 2 step 1 {
// IS:        tile.resident {{%.*}} "bn" as "dY"
// IS:        tile.beat "dx" computes "dx" over "n"({{%.*}} "(32K+k)n" as "W", {{%.*}} "b(32K+k)" as "dX")
// IS:      tile.nest rows "b" cols "k" stream "n" layer "fc" product "dw"
// IS:        tile.resident {{%.*}} "bk" as "X"
// IS:        tile.beat "fwd" computes "dw" over "b"({{%.*}} "bn" as "dY", {{%.*}} "kn" as "dW")
