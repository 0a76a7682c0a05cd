// RUN: gradweave-opt %s -p 'allocate-memory' | filecheck %s

// Tensors lie in DRAM one after the other, 64 bytes aligned. In this scratchpad of 12 kB buffers share memory unless they are in use
// at the same time; rings of tiles are in use all the time; what nothing uses is dropped.
// CHECK:      tile.buffer "w.tiles" ring 2 at 0
// CHECK-NEXT: tile.tensor "input" "x" at 0
// CHECK-NEXT: tile.tensor "scratch" "y" at 4032
// CHECK-NEXT: tile.buffer "a" at 8192
// CHECK-NEXT: tile.buffer "b" at 10240
// CHECK-NEXT: tile.buffer "c" at 8192
// CHECK-NOT:  "unused"
tile.program @m slots 2 schedule "by hand" machine {name = "small", array = {rows = 32 : i64, cols = 32 : i64}, scratchpad = {bytes = 12288 : i64}} {
  %w = tile.buffer "w.tiles" ring 2 : memref<32x32xf32, "spad">
  %x = tile.tensor "input" "x" : memref<1000xf32, "dram">
  %y = tile.tensor "scratch" "y" : memref<500xf32, "dram">
  %a = tile.buffer "a" : memref<500xf32, "spad">
  %b = tile.buffer "b" : memref<500xf32, "spad">
  %c = tile.buffer "c" : memref<500xf32, "spad">
  %d = tile.buffer "unused" : memref<500xf32, "spad">
  tile.copy %y to %a layer "1" product "vector" : memref<500xf32, "dram"> to memref<500xf32, "spad">
  tile.map "exp"(%a) to %b layer "2" product "vector" : (memref<500xf32, "spad">) to memref<500xf32, "spad">
  tile.map "exp"(%b) to %c layer "3" product "vector" : (memref<500xf32, "spad">) to memref<500xf32, "spad">
  tile.nest rows "k" cols "n" stream "b" layer "4" product "fwd" macs 0 {
    tile.resident %c "n" as "W" : memref<500xf32, "spad">
    tile.drain %x "n" as "W" through %w : memref<1000xf32, "dram">, memref<32x32xf32, "spad">
  }
}
