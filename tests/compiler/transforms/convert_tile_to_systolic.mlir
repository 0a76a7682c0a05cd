// RUN: gradweave-opt %s -p 'convert-train-to-tile,allocate-memory,convert-tile-to-systolic' | filecheck %s
// RUN: gradweave-opt %s -p 'convert-train-to-tile{fused-update=true},allocate-memory,convert-tile-to-systolic' | filecheck %s --check-prefix=FUSED
// RUN: gradweave-opt %s -p 'convert-train-to-tile{double-buffer=false},allocate-memory,convert-tile-to-systolic' | filecheck %s --check-prefix=SINGLE

// One layer's gradients in 2 x 2 tiles on the default machine of 32 x 32, and its update.
train.graph @layer {
  %x = train.leaf "input" "x" : tensor<40x64xf32>
  %w = train.leaf "param" "w" : tensor<64x50xf32>
  %dy = train.leaf "input" "grad/y" : tensor<40x50xf32>
  %dx = train.product "bn,kn->bk"(%dy, %w) layer "fc" role "dx" : (tensor<40x50xf32>, tensor<64x50xf32>) -> tensor<40x64xf32>
  %dw = train.product "bk,bn->kn"(%x, %dy) layer "fc" role "dw" : (tensor<40x64xf32>, tensor<40x50xf32>) -> tensor<64x50xf32>
  %dz = train.map "relu_grad"(%dx, %x) layer "act" role "grad" : (tensor<40x64xf32>, tensor<40x64xf32>) -> tensor<40x64xf32>
  %new = train.update(%w, %dw) lr 0.5 momentum 0.0 decay 0.0 layer "sgd" role "update" : (tensor<64x50xf32>, tensor<64x50xf32>) -> tensor<64x50xf32>
  train.output "grad" "grad/x" %dz : tensor<40x64xf32>
  train.output "grad" "grad/w" %dw : tensor<64x50xf32>
  train.output "param" "param/w" %new : tensor<64x50xf32>
}

// Semaphores are numbered in this order. A ring starts with its slots empty; the last ones order whole operations.
// CHECK:      systolic.symbol "param" "w" "dram" at [[ADDRESS:\d+]] type tensor<64x50xf32>
// CHECK:      systolic.symbol "output" "param/w" "dram" at [[ADDRESS]] type tensor<64x50xf32>
// CHECK-NEXT: systolic.semaphore "w.empty" initial 4
// CHECK-NEXT: systolic.semaphore "w.full" initial 0
// CHECK-NEXT: systolic.semaphore "g.full" initial 0
// CHECK-NEXT: systolic.semaphore "g.empty" initial 4
// CHECK:      systolic.semaphore "dma_in.array" initial 0
// CHECK:      systolic.provenance "fc" "dx+dw" group 2 macs 256000
// CHECK-NEXT: systolic.provenance "fc" "dx" group 2
// CHECK-NEXT: systolic.provenance "fc" "dw" group 2

// Tiles of W come through the ring, two slots of 4096 bytes in turn. n is ragged: 32 columns, then what is left of 50.
// CHECK-LABEL: systolic.queue "dma_in" {
// CHECK-NEXT:    systolic.ld {{.*}}grad/y
// CHECK-NEXT:    systolic.ld {{.*}}[x@
// CHECK-NEXT:    systolic.signal sem 7
// CHECK:         systolic.loop name "n" count 2 from 2 {
// CHECK-NEXT:      systolic.loop name "k" count 2 from 2 {
// CHECK-NEXT:        systolic.wait sem 0 from 2
// CHECK-NEXT:        systolic.ld dst <"W@spad.f32[w.tiles@{{\d+}} + 4096*((2*%0 + %1) mod 4)] x32 x32/50@%0"> src <"W@dram.f32[w@{{\d+}} + 128*%0 + 6400*%1] x32:200 x32/50@%0"> from 2
// CHECK-NEXT:        systolic.signal sem 1 from 2

// The chain shifts each tile into the array ...
// CHECK-LABEL: systolic.queue "wchain" {
// CHECK:             systolic.wait sem 1 from 2
// CHECK-NEXT:        systolic.wload src <"W@spad.f32[w.tiles
// CHECK-NEXT:        systolic.signal sem 0 from 2

// ... where the first beat of a tile swaps it in, and the last takes the gradient out. dY is held for the second beat of a pair.
// CHECK-LABEL: systolic.queue "array" {
// CHECK-NEXT:    systolic.wait sem 7 from 2
// CHECK-NEXT:    systolic.loop name "n" count 2 from 2 {
// CHECK-NEXT:      systolic.loop name "k" count 2 from 2 {
// CHECK-NEXT:        systolic.loop name "b" count 40 from 2 {
// CHECK-NEXT:          systolic.dx v {{.*}}"dY@spad{{.*}}> acc <"dX@spad{{.*}}> zero <first, 0> swap <first, 2> from 3
// CHECK-NEXT:          systolic.dw h {{.*}}"X@spad{{.*}}> v "held" take <last, 2> from 4
// CHECK-NEXT:        }

// CHECK-LABEL: systolic.queue "gchain" {
// CHECK:             systolic.wait sem 3 from 2
// CHECK-NEXT:        systolic.drain dst <"dW@spad.f32[g.tiles
// CHECK-NEXT:        systolic.signal sem 2 from 2

// The update walks over the weight in chunks of 2048 words, the last one shorter.
// CHECK-LABEL: systolic.queue "vector" {
// CHECK:         systolic.vec fn "relu_grad"
// CHECK:         systolic.loop name "i" count 2 from 7 {
// CHECK-NEXT:      systolic.wait sem 5 from 7
// CHECK-NEXT:      systolic.vec fn "fma" dst <"@spad.f32[update.weight@{{\d+}} + 8192*(%0 mod 2)] x2048/3200@%0"> a {{.*}}update.grad{{.*}} c {{.*}}update.weight{{.*}} imm -5.000000e-01 from 7
// CHECK-NEXT:      systolic.signal sem 6 from 7

// Update in the array: one beat a tile, which also hands the new weights to the chain; the vector unit has no part in it.
// FUSED-LABEL: systolic.queue "array" {
// FUSED:               systolic.dw h {{.*}} v "held" from
// FUSED-NEXT:        }
// FUSED-NEXT:        systolic.upd lr 5.000000e-01 from
// FUSED-LABEL: systolic.queue "gchain" {
// FUSED:             systolic.drain dst <"W@spad
// FUSED-LABEL: systolic.queue "vector" {
// FUSED-NOT:     "fma"

// Single buffers: the next tile is loaded once the last one is done with (tile.free), and begins once its gradient is out (g.free).
// SINGLE:      systolic.semaphore "w.empty" initial 1
// SINGLE-NEXT: systolic.semaphore "w.full" initial 0
// SINGLE:      systolic.semaphore "tile.free" initial 1
// SINGLE-NEXT: systolic.semaphore "g.free" initial 1
// SINGLE-LABEL: systolic.queue "wchain" {
// SINGLE:            systolic.wait sem [[TILE:\d+]] from 2
// SINGLE-NEXT:       systolic.wait sem 1 from 2
// SINGLE-NEXT:       systolic.wload
// SINGLE-LABEL: systolic.queue "array" {
// SINGLE:          systolic.loop name "k" count 2 from 2 {
// SINGLE-NEXT:       systolic.wait sem [[G:\d+]] from 2
// SINGLE-NEXT:       systolic.loop name "b"
// SINGLE:            }
// SINGLE-NEXT:       systolic.signal sem [[TILE]] from 2
// SINGLE-LABEL: systolic.queue "gchain" {
// SINGLE:            systolic.drain
// SINGLE-NEXT:       systolic.signal sem {{\d+}} from 2
// SINGLE-NEXT:       systolic.signal sem [[G]] from 2
