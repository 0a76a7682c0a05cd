// RUN: gradweave-opt %s -p 'differentiate{input-grads=x},convert-train-to-tile{dram-above=65536}' | filecheck %s --check-prefix=TILE
// RUN: gradweave-opt %s -p 'differentiate{input-grads=x},convert-train-to-tile{dram-above=65536},allocate-memory,convert-tile-to-systolic' | filecheck %s

// A convolution of images that the scratchpad (1 MiB) does not hold; beside panels there is no room for all of W either.
train.graph @convolution {
  %x = train.leaf "input" "x" : tensor<4x512x114x114xf32>
  %w = train.leaf "param" "w" : tensor<48x512x3x3xf32>
  %y = train.product "bk(2y+r)(2x+s),nkrs->bnyx"(%x, %w) layer "conv" role "fwd" : (tensor<4x512x114x114xf32>, tensor<48x512x3x3xf32>) -> tensor<4x48x56x56xf32>
  train.output "output" "y" %y : tensor<4x48x56x56xf32>
}

// B and Y walk images and blocks of rows: (8Y+y) is row y of block Y. A block of 8 rows of Y reads 17 rows of X; its panel has just those,
// of one tile of k, while Y's has all of n: it changes with B and Y alone.
// TILE-LABEL: tile.program @convolution
// TILE:      [[X:%.*]] = tile.tensor "input" "x" : memref<4x512x114x114xf32, "dram">
// TILE:      [[XP:%.*]] = tile.buffer "conv.X.panels" ring 2 : memref<1x32x17x113xf32, "spad">
// TILE:      [[YP:%.*]] = tile.buffer "conv.Y.panels" ring 2 : memref<1x48x8x56xf32, "spad">
// TILE-NEXT: tile.nest rows "k" cols "n" stream "byx" layer "conv" product "fwd"
// TILE-NEXT:   tile.for "B" to 4 step 1 {
// TILE-NEXT:     tile.for "Y" to 7 step 1 {
// TILE-NEXT:       tile.stage "out" {{%.*}} "(B+b)n(8Y+y)x" as "Y" panel [[YP]] by "BY"
// TILE-NEXT:       tile.for "k" to 512 step 32 {
// TILE-NEXT:         tile.stage "in" [[X]] "(B+b)k(16Y+2y+r)(2x+s)" as "X" panel [[XP]] by "BYk"
// TILE:              tile.for "n" to 48 step 32 {
// TILE:                    tile.for "b" to 1 step 1 {
// TILE-NEXT:                 tile.for "y" to 8 step 1 {
// TILE-NEXT:                   tile.for "x" to 56 step 1 {
// TILE-NEXT:                     tile.beat "fwd" computes "fwd" over "krs"([[XP]] "(B+b)k(16Y+2y+r)(2x+s)" as "X", [[YP]] "(B+b)n(8Y+y)x" as "Y")

// Blocks share rows of dX: its panels bring sums in and take them out, from zeros that are written beforehand, and there is but one.
// dW is summed over blocks: what a block adds goes through a third ring, p.
// TILE:      [[DY:%.*]] = tile.buffer "conv.dY.panels" ring 2 : memref<1x48x8x56xf32, "spad">
// TILE:      [[DX:%.*]] = tile.tensor "scratch" "grad/x" : memref<4x512x114x114xf32, "dram">
// TILE:      [[DXP:%.*]] = tile.buffer "conv.dX.panels" ring 1 : memref<1x32x17x113xf32, "spad">
// TILE-NEXT: [[ZEROS:%.*]] = tile.buffer "conv.zeros"
// TILE-NEXT: tile.map "copy"() imm 0.000000e+00 at [0 : i64] to [[ZEROS]]
// TILE-NEXT: [[FLAT:%.*]] = tile.view [[DX]]
// TILE-NEXT: tile.blocks
// TILE-NEXT:   [[WINDOW:%.*]] = tile.window [[FLAT]] axis 0
// TILE-NEXT:   tile.copy [[ZEROS]] to [[WINDOW]]
// TILE:      tile.nest rows "k" cols "n" stream "byx" layer "conv" product "dx+dw"
// TILE-NEXT:   tile.for "B" to 4 step 1 {
// TILE-NEXT:     tile.for "Y" to 7 step 1 {
// TILE-NEXT:       tile.stage "in" {{%.*}} "(B+b)n(8Y+y)x" as "dY" panel [[DY]] by "BY"
// TILE-NEXT:       tile.for "k" to 512 step 32 {
// TILE-NEXT:         tile.stage "inout" [[DX]] "(B+b)k(16Y+2y+r)(2x+s)" as "dX" panel [[DXP]] by "BYk"
// TILE-NEXT:         tile.stage "in" [[X]] "(B+b)k(16Y+2y+r)(2x+s)" as "X" panel {{%.*}} by "BYk"
// TILE-NEXT:         tile.for "n" to 48 step 32 {
// TILE:                  tile.drain {{%.*}} "nkrs" as "dW" through {{%.*, %.*}} :

// The loads of one block: its panels, and for every tile W and what the blocks before have summed of dW. They may be read once those are
// stored (p.turn). Panels wait until they are empty, and say when they are full.
// CHECK:      systolic.semaphore "p.turn" initial 1
// CHECK-LABEL: systolic.queue "dma_in" {
// CHECK:           systolic.ld dst <"dY@spad.f32[conv.dY.panels@
// CHECK-NEXT:      systolic.signal sem {{\d+}} from [[BWD:\d+]]
// CHECK-NEXT:      systolic.wait sem [[TURN:\d+]] from [[BWD]]
// CHECK-NEXT:        systolic.loop name "k" count 16 from [[BWD]] {
// CHECK-NEXT:          systolic.wait sem [[EMPTY:\d+]] from [[BWD]]
// CHECK-NEXT:          systolic.ld dst <"dX@spad.f32[conv.dX.panels@{{\d+}}] x32 x17 x113"> src <"dX@dram.f32[grad/x@{{\d+}} + 26615808*%0 + 7296*%1 + 1663488*%2] x32:51984 x17:456 x113">
// CHECK-NEXT:          systolic.signal sem [[FULL:\d+]] from [[BWD]]
// CHECK:               systolic.loop name "n" count 2 from [[BWD]] {
// CHECK:                     systolic.ld dst <"W@spad.f32[w.tiles
// CHECK:                     systolic.ld dst <"dW@spad.f32[p.tiles@{{\d+}} + 4096*((%3 + %4 + %5) mod 2)] x32/48@%3 x32"> src <"dW@dram.f32[grad/w@

// Stores follow: the drained tiles, already added up; the panel of dX; then the next block may read.
// CHECK-LABEL: systolic.queue "dma_out" {
// CHECK:                     systolic.st dst <"dW@dram.f32[grad/w@{{.*}}> src <"dW@spad.f32[g.tiles@
// CHECK:               systolic.st dst <"dX@dram.f32[grad/x@{{.*}}> src <"dX@spad.f32[conv.dX.panels@
// CHECK-NEXT:          systolic.signal sem [[EMPTY]] from [[BWD]]
// CHECK-NEXT:        }
// CHECK-NEXT:        systolic.signal sem [[TURN]] from [[BWD]]

// Within a panel only the loops inside it move the streams; the loop that chooses it steps through the slots.
// CHECK-LABEL: systolic.queue "array" {
// CHECK:               systolic.wait sem [[FULL]] from [[BWD]]
// CHECK:                           systolic.dx v #systolic.stream<"dY@spad.f32[conv.dY.panels@{{\d+}} + 57344*%3 + 224*%6 + 4*%7 + 86016*((%0 + %1) mod 2)] x32/48@%3:1792"> acc <"dX@spad.f32[conv.dX.panels@{{\d+}}[[PATTERN: . 452.%4 . 4.%5 . 904.%6 . 8.%7]]] x32:7684"> swap <first, 6, 7>
// CHECK-NEXT:                      systolic.dw h #systolic.stream<"X@spad.f32[conv.X.panels.2@{{\d+}}[[PATTERN]] + 245888*(%2 mod 2)] x32:7684"> v "held" take <last, 6, 7>

// The vector unit adds what was drained to what the blocks before have summed.
// CHECK-LABEL: systolic.queue "vector" {
// CHECK:                     systolic.vec fn "add" dst <"[[G:dW@spad.f32.g.tiles@.*]]"> a #systolic.stream<"[[G]]"> b #systolic.stream<"dW@spad.f32[p.tiles@
