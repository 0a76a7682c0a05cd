// RUN: gradweave-opt %s -p 'spill,allocate-memory' | filecheck %s

// Buffers of 2,048 bytes (2,000 rounded up to 64) in a scratchpad of 6 kB: while c, d and e are there, a and b are not. b comes from
// DRAM, which still has it: only a is stored. A view of what has moved is made anew.
// CHECK:      tile.copy [[X:%x]] to [[B:%.*]] layer "0"
// CHECK:      tile.map "exp"([[B]]) to [[A:%.*]] layer "1"
// CHECK-NEXT: [[HOME:%.*]] = tile.tensor "scratch" "a.spilled"
// CHECK-NEXT: tile.copy [[A]] to [[HOME]] layer "1" product "spill"
// CHECK-NEXT: tile.map "exp"([[C:%.*]]) to [[D:%.*]] layer "2"
// CHECK-NEXT: tile.map "add"([[C]], [[D]]) to [[E:%.*]] layer "3"
// CHECK-NOT:  tile.view [[A]]
// CHECK-DAG:  [[A2:%.*]] = tile.buffer "a.spilled" at
// CHECK-DAG:  tile.copy [[HOME]] to [[A2]] layer "4" product "spill"
// CHECK-DAG:  [[B2:%.*]] = tile.buffer "b.spilled" at
// CHECK-DAG:  tile.copy [[X]] to [[B2]] layer "4" product "spill"
// CHECK:      [[FLAT:%.*]] = tile.view [[A2]]
// CHECK-NEXT: [[LINE:%.*]] = tile.view [[B2]]
// CHECK-NEXT: tile.map "add"([[FLAT]], [[LINE]]) to [[E]] layer "4"
tile.program @m slots 2 schedule "by hand" machine {name = "small", array = {rows = 2 : i64, cols = 2 : i64}, scratchpad = {bytes = 6144 : i64}} {
  %x = tile.tensor "input" "x" : memref<10x50xf32, "dram">
  %a = tile.buffer "a" : memref<10x50xf32, "spad">
  %b = tile.buffer "b" : memref<10x50xf32, "spad">
  %c = tile.buffer "c" : memref<500xf32, "spad">
  %d = tile.buffer "d" : memref<500xf32, "spad">
  %e = tile.buffer "e" : memref<500xf32, "spad">
  tile.copy %x to %b layer "0" product "vector" : memref<10x50xf32, "dram"> to memref<10x50xf32, "spad">
  tile.map "exp"(%b) to %a layer "1" product "vector" : (memref<10x50xf32, "spad">) to memref<10x50xf32, "spad">
  tile.map "exp"(%c) to %d layer "2" product "vector" : (memref<500xf32, "spad">) to memref<500xf32, "spad">
  tile.map "add"(%c, %d) to %e layer "3" product "vector" : (memref<500xf32, "spad">, memref<500xf32, "spad">) to memref<500xf32, "spad">
  %flat = tile.view %a : memref<10x50xf32, "spad"> to memref<500xf32, "spad">
  %line = tile.view %b : memref<10x50xf32, "spad"> to memref<500xf32, "spad">
  tile.map "add"(%flat, %line) to %e layer "4" product "vector" : (memref<500xf32, "spad">, memref<500xf32, "spad">) to memref<500xf32, "spad">
}
