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

// Half of %t in DRAM holds the words of f; but t is written to again before f is needed, so that f gets a home of its own.
// CHECK-LABEL: tile.program @shared
// CHECK:       tile.copy [[F:%.*]] to [[HALF:%.*]] layer "1"
// CHECK:       [[OWN:%.*]] = tile.tensor "scratch" "f.spilled"
// CHECK-NEXT:  tile.copy [[F]] to [[OWN]] layer "1" product "spill"
// CHECK:       tile.copy [[OWN]] to {{.*}} layer "4" product "spill"
tile.program @shared slots 2 schedule "by hand" machine {name = "small", array = {rows = 2 : i64, cols = 2 : i64}, scratchpad = {bytes = 6144 : i64}} {
  %t = tile.tensor "scratch" "t" : memref<2x500xf32, "dram">
  %f = tile.buffer "f" : memref<1x500xf32, "spad">
  %g = tile.buffer "g" : memref<1x500xf32, "spad">
  %h = tile.buffer "h" : memref<1x500xf32, "spad">
  %i = tile.buffer "i" : memref<1x500xf32, "spad">
  %lower = tile.slice %t from [0 : i64, 0 : i64] by [1 : i64, 1 : i64] : memref<2x500xf32, "dram"> to memref<1x500xf32, "dram">
  %upper = tile.slice %t from [1 : i64, 0 : i64] by [1 : i64, 1 : i64] : memref<2x500xf32, "dram"> to memref<1x500xf32, "dram">
  tile.map "exp"(%f) to %f layer "0" product "vector" : (memref<1x500xf32, "spad">) to memref<1x500xf32, "spad">
  tile.copy %f to %lower layer "1" product "vector" : memref<1x500xf32, "spad"> to memref<1x500xf32, "dram">
  tile.map "add"(%g, %h) to %i layer "2" product "vector" : (memref<1x500xf32, "spad">, memref<1x500xf32, "spad">) to memref<1x500xf32, "spad">
  tile.copy %i to %upper layer "3" product "vector" : memref<1x500xf32, "spad"> to memref<1x500xf32, "dram">
  tile.map "exp"(%f) to %i layer "4" product "vector" : (memref<1x500xf32, "spad">) to memref<1x500xf32, "spad">
}
