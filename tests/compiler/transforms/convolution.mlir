// RUN: gradweave-opt %s -p 'differentiate{input-grads=x},convert-train-to-tile' | filecheck %s --check-prefix=TILE
// RUN: gradweave-opt %s -p 'differentiate{input-grads=x},convert-train-to-tile{schedule=os}' | filecheck %s --check-prefix=OS
// RUN: gradweave-opt %s -p 'differentiate{input-grads=x},convert-train-to-tile,allocate-memory,convert-tile-to-systolic' | filecheck %s

// A convolution of 3 x 3 with stride 2 and padding 1, and its gradients, on the default machine of 32 x 32.
train.graph @convolution {
  %x = train.leaf "input" "x" : tensor<4x64x14x14xf32>
  %w = train.leaf "param" "w" : tensor<48x64x3x3xf32>
  %p = train.place %x at [0, 0, 1, 1] by [1, 1, 1, 1] in 0.0 layer "conv" role "fwd" : (tensor<4x64x14x14xf32>) -> tensor<4x64x16x16xf32>
  %y = train.product "bk(2y+r)(2x+s),nkrs->bnyx"(%p, %w) layer "conv" role "fwd" : (tensor<4x64x16x16xf32>, tensor<48x64x3x3xf32>) -> tensor<4x48x7x7xf32>
  %z = train.map "relu"(%y) layer "relu" role "fwd" : (tensor<4x48x7x7xf32>) -> tensor<4x48x7x7xf32>
  train.output "output" "z" %z : tensor<4x48x7x7xf32>
}

// Channels lie on the lanes, pixels follow each other in time. Taps r and s are loops around the tile: each has a tile of W of its own.
// The sum over channels and taps starts from 0 where all three loops are in their first turn.
// TILE:      [[X:%.*]] = tile.buffer "conv.padded" : memref<4x64x16x16xf32, "spad">
// TILE-NEXT: tile.map "copy"() imm 0.000000e+00 at [0 : i64] to [[X]]
// TILE-NEXT: [[PART:%.*]] = tile.slice [[X]] from [0 : i64, 0 : i64, 1 : i64, 1 : i64]
// TILE-NEXT: tile.map "copy"({{%.*}}) to [[PART]]
// TILE:      tile.nest rows "k" cols "n" stream "byx" layer "conv" product "fwd" macs 5419008 {
// TILE-NEXT:   tile.for "k" to 64 step 32 {
// TILE-NEXT:     tile.for "r" to 3 step 1 {
// TILE-NEXT:       tile.for "s" to 3 step 1 {
// TILE-NEXT:         tile.for "n" to 48 step 32 {
// TILE-NEXT:           tile.resident [[W:%.*]] "nkrs" as "W"
// TILE-NEXT:           tile.for "b" to 4 step 1 {
// TILE-NEXT:             tile.for "y" to 7 step 1 {
// TILE-NEXT:               tile.for "x" to 7 step 1 {
// TILE-NEXT:                 tile.beat "fwd" computes "fwd" over "krs"([[X]] "bk(2y+r)(2x+s)" as "X", {{%.*}} "bnyx" as "Y")

// dX is read and written at the addresses from which X is read. Taps meet in its words, in no order that a loop gives: it starts as zeros,
// and its beats add to what is there ("over" no axis).
// TILE:      [[DX:%.*]] = tile.buffer "conv.dX" : memref<4x64x16x16xf32, "spad">
// TILE-NEXT: tile.map "copy"() imm 0.000000e+00 at [0 : i64] to [[DX]]
// TILE:      tile.nest rows "k" cols "n" stream "byx" layer "conv" product "dx+dw" macs 10838016 {
// TILE:                    tile.for "x" to 7 step 1 {
// TILE-NEXT:                 tile.beat "dx" computes "dx"([[DY:%.*]] "bnyx" as "dY", [[DX]] "bk(2y+r)(2x+s)" as "dX")
// TILE-NEXT:                 tile.beat "dw" computes "dw"([[X]] "bk(2y+r)(2x+s)" as "X", [[DY]] "bnyx" as "dY")
// TILE-NEXT:               }
// TILE-NEXT:             }
// TILE-NEXT:           }
// TILE-NEXT:           tile.drain {{%.*}} "nkrs" as "dW"
// TILE:      tile.publish "grad/w"
// TILE-NEXT: [[INNER:%.*]] = tile.slice [[DX]] from [0 : i64, 0 : i64, 1 : i64, 1 : i64]

// An accumulator cannot hold a word that other accumulators add to: with results in the array, dX gathers what it is the sum of.  A stride
// of 2 makes four phases, of 1, 2, 2 and 4 taps; each reads dY among zeros, W backwards, and writes every other word in both dimensions.
// Of dX with its padding only the inner part is computed, with as many MACs in all as in the other schedules.  4 images of 7 rows of pixels
// lie on the 32 rows together, one column of pixels at a time.
// OS:        [[DY:%.*]] = tile.buffer "conv.padded.2" : memref<4x48x8x8xf32, "spad">
// OS:        [[DX:%.*]] = tile.tensor "scratch" "grad/x" : memref<4x64x14x14xf32, "dram">
// OS:        tile.nest rows "by" cols "k" stream "nrs" layer "conv" product "dx" macs 602112 {
// OS:        tile.nest rows "by" cols "k" stream "nrs" layer "conv" product "dx" macs 1204224 {
// OS:        tile.nest rows "by" cols "k" stream "nrs" layer "conv" product "dx" macs 1204224 {
// OS:        [[MET:%.*]] = tile.slice [[DY]] from [0 : i64, 0 : i64, 0 : i64, 0 : i64] by [1 : i64, 1 : i64, 1 : i64, 1 : i64]
// OS-NEXT:   [[TAPS:%.*]] = tile.slice {{%.*}} from [0 : i64, 0 : i64, 2 : i64, 2 : i64] by [1 : i64, 1 : i64, -2 : i64, -2 : i64]
// OS-NEXT:   [[PHASE:%.*]] = tile.slice [[DX]] from [0 : i64, 0 : i64, 1 : i64, 1 : i64] by [1 : i64, 1 : i64, 2 : i64, 2 : i64]
// OS-NEXT:   [[PANEL:%.*]] = tile.buffer "conv.W.panels.4" ring 2 : memref<48x32x2x2xf32, "spad">
// OS-NEXT:   tile.nest rows "by" cols "k" stream "nrs" layer "conv" product "dx" macs 2408448 {
// OS-NEXT:     tile.for "k" to 64 step 32 {
// OS-NEXT:       tile.stage "in" [[TAPS]] "nkrs" as "W" panel [[PANEL]] by "k"
// OS-NEXT:       tile.for "b" to 4 step 4 {
// OS-NEXT:         tile.for "y" to 7 step 7 {
// OS-NEXT:           tile.for "x" to 7 step 1 {
// OS-NEXT:             tile.for "n" to 48 step 1 {
// OS-NEXT:               tile.for "r" to 2 step 1 {
// OS-NEXT:                 tile.for "s" to 2 step 1 {
// OS-NEXT:                   tile.beat "dw" computes "dx"([[MET]] "bn(y+r)(x+s)" as "dY", [[PANEL]] "nkrs" as "W")
// OS:                  tile.drain [[PHASE]] "bkyx" as "dX"
// OS:        tile.nest rows "k" cols "n" stream "byx" layer "conv" product "dw" macs 5419008 {
// OS:          tile.beat "dw" computes "dw"

// No im2col: a tap is an offset (%1: r, 16 words to a row; %2: s), a stride of 2 is twice the step of a pixel (%5: y, %6: x).
// CHECK-LABEL: systolic.queue "array" {
// CHECK-NEXT:    systolic.wait
// CHECK-NEXT:    systolic.loop name "k" count 2 from 3 {
// CHECK-NEXT:      systolic.loop name "r" count 3 from 3 {
// CHECK-NEXT:        systolic.loop name "s" count 3 from 3 {
// CHECK-NEXT:          systolic.loop name "n" count 2 from 3 {
// CHECK-NEXT:            systolic.loop name "b" count 4 from 3 {
// CHECK-NEXT:              systolic.loop name "y" count 7 from 3 {
// CHECK-NEXT:                systolic.loop name "x" count 7 from 3 {
// CHECK-NEXT:                  systolic.fwd h <"X@spad.f32[conv.padded@0 + 32768*%0 + 64*%1 + 4*%2 + 65536*%4 + 128*%5 + 8*%6] x32:1024"> acc <"Y@spad{{.*}} x32/48@%3:196"> zero <first, 0, 1, 2> swap <first, 4, 5, 6> from 3

// The interleaved pair in one loop body: dY is read once, X and dX share their address pattern, and what swaps and takes are one beat each.
// CHECK:                       systolic.loop name "x" count 7 from 9 {
// CHECK-NEXT:                    systolic.dx v #systolic.stream<"dY@spad.f32[relu.relu_grad@{{\d+}} + 6272*%0 + 9408*%4 + 28*%5 + 4*%6] x32/48@%0:196"> acc <"dX@spad.f32[conv.dX@{{\d+}}[[PATTERN: . 32768.*x32:1024]]"> swap <first, 4, 5, 6> from 10
// CHECK-NEXT:                    systolic.dw h #systolic.stream<"X@spad.f32[conv.padded@{{\d+}}[[PATTERN]]"> v "held" take <last, 4, 5, 6> from 11
// CHECK-NEXT:                  }
