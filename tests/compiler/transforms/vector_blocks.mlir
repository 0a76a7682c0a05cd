// RUN: gradweave-opt %s -p 'convert-train-to-tile{dram-above=65536}' | filecheck %s --check-prefix=TILE
// RUN: gradweave-opt %s -p 'convert-train-to-tile{dram-above=65536},allocate-memory,convert-tile-to-systolic' | filecheck %s

// Elementwise work on tensors of 16 MB: the vector unit goes through them in blocks of two rings; what is small is there as a whole.
train.graph @map {
  %x = train.leaf "input" "x" : tensor<64x64x1000xf32>
  %b = train.leaf "input" "b" : tensor<64x1xf32>
  %y = train.map "add"(%x, %b) layer "add" role "fwd" : (tensor<64x64x1000xf32>, tensor<64x1xf32>) -> tensor<64x64x1000xf32>
  train.output "output" "y" %y : tensor<64x64x1000xf32>
}

// Blocks of one size, small enough for the panels of other passes beside these: along the last axis 500 of 2.
// TILE:      [[X:%.*]] = tile.tensor "input" "x"
// TILE:      [[B:%.*]] = tile.buffer "b" : memref<64x1xf32, "spad">
// TILE:      [[Y:%.*]] = tile.tensor "scratch" "y"
// TILE-NEXT: [[IN:%.*]] = tile.buffer "add.add.panel" ring 2 : memref<64x64x2xf32, "spad">
// TILE-NEXT: [[OUT:%.*]] = tile.buffer "add.add.panel.2" ring 2 : memref<64x64x2xf32, "spad">
// TILE-NEXT: tile.blocks 500 slots 2 layer "add" product "vector" {
// TILE-NEXT:   [[XW:%.*]] = tile.window [[X]] axis 2 : memref<64x64x1000xf32, "dram"> to memref<64x64x2xf32, "dram">
// TILE-NEXT:   tile.copy [[XW]] to [[IN]]
// TILE-NEXT:   [[YW:%.*]] = tile.window [[Y]] axis 2
// TILE-NEXT:   tile.map "add"([[IN]], [[B]]) to [[OUT]]
// TILE-NEXT:   tile.copy [[OUT]] to [[YW]]

// Three queues, each in its own loop, with tokens between neighbours: full panels go down the line, empty ones come back.
// CHECK:       systolic.semaphore "block2.vector.dma_in.empty" initial 2
// CHECK-NEXT:  systolic.semaphore "block2.dma_in.vector.full" initial 0
// CHECK-NEXT:  systolic.semaphore "block2.dma_out.vector.empty" initial 2
// CHECK-NEXT:  systolic.semaphore "block2.vector.dma_out.full" initial 0
// CHECK-LABEL: systolic.queue "dma_in" {
// CHECK:         systolic.loop name "i" count 500 from 1 {
// CHECK-NEXT:      systolic.wait sem 0 from 1
// CHECK-NEXT:      systolic.ld dst <"[[PANEL:@spad.f32.add.add.panel@\d+ . 32768.\(%0 mod 2\).]] x4096 x2"> src <"@dram.f32[x@{{\d+}} + 8*%0] x4096:4000 x2"> from 1
// CHECK-NEXT:      systolic.signal sem 1 from 1
// CHECK-LABEL: systolic.queue "dma_out" {
// CHECK-NEXT:    systolic.loop name "i" count 500 from 1 {
// CHECK-NEXT:      systolic.wait sem 3 from 1
// CHECK-NEXT:      systolic.st dst <"@dram.f32[y@{{\d+}} + 8*%0] x4096:4000 x2"> src <"[[RESULT:@spad.f32.add.add.panel.2@\d+ . 32768.\(%0 mod 2\).]] x4096 x2"> from 1
// CHECK-NEXT:      systolic.signal sem 2 from 1
// CHECK-LABEL: systolic.queue "vector" {
// CHECK:         systolic.loop name "i" count 500 from 1 {
// CHECK-NEXT:      systolic.wait sem 1 from 1
// CHECK-NEXT:      systolic.wait sem 2 from 1
// CHECK-NEXT:      systolic.vec fn "add" dst <"[[RESULT]] x64 x64 x2"> a #systolic.stream<"[[PANEL]] x64 x64 x2"> b #systolic.stream<"@spad.f32[b@{{\d+}}] x64:0 x64:4 x2:0"> from 1
// CHECK-NEXT:      systolic.signal sem 0 from 1
// CHECK-NEXT:      systolic.signal sem 3 from 1
