// RUN: gradweave-opt %s -p 'convert-train-to-tile{dram-above=65536},fuse-epilogues' | filecheck %s

// Bias and activation are computed where the array has left a panel of the product, so it is the activation that is stored.  The tensor
// that is added comes in as panels of its own; the sum over images and pixels is added up on the way.
// Nobody else reads the product, which never goes to DRAM.
train.graph @ride {
  %x = train.leaf "input" "x" : tensor<8x16x4096xf32>
  %w = train.leaf "param" "w" : tensor<64x16xf32>
  %b = train.leaf "param" "b" : tensor<1x64x1xf32>
  %r = train.leaf "input" "r" : tensor<8x64x4096xf32>
  %y = train.product "bkp,nk->bnp"(%x, %w) layer "conv" role "fwd" : (tensor<8x16x4096xf32>, tensor<64x16xf32>) -> tensor<8x64x4096xf32>
  %a = train.map "add"(%y, %b) layer "bias" role "fwd" : (tensor<8x64x4096xf32>, tensor<1x64x1xf32>) -> tensor<8x64x4096xf32>
  %c = train.map "add"(%a, %r) layer "sum" role "fwd" : (tensor<8x64x4096xf32>, tensor<8x64x4096xf32>) -> tensor<8x64x4096xf32>
  %d = train.map "relu"(%c) layer "act" role "fwd" : (tensor<8x64x4096xf32>) -> tensor<8x64x4096xf32>
  %e = train.reduce "sum" %d axes [0, 2] layer "total" role "fwd" : (tensor<8x64x4096xf32>) -> tensor<1x64x1xf32>
  train.output "output" "d" %d : tensor<8x64x4096xf32>
  train.output "output" "e" %e : tensor<1x64x1xf32>
}

// CHECK-NOT:  tile.tensor "scratch" "conv
// CHECK:      [[R:%.*]] = tile.tensor "input" "r"
// CHECK:      [[P:%.*]] = tile.buffer "conv.Y.panels" ring 3
// CHECK:      [[B:%.*]] = tile.buffer "b"
// CHECK:      [[D:%.*]] = tile.tensor "scratch" "d"
// CHECK:      [[SUM:%.*]] = tile.buffer "total.sum"
// CHECK:      [[IN:%.*]] = tile.buffer "sum.add.panel.2" ring 2 : memref<1x64x512xf32, "spad">
// CHECK:      [[PART:%.*]] = tile.buffer "total.sum.part" : memref<1x64x1xf32, "spad">
// CHECK-NEXT: tile.map "copy"() imm 0.000000e+00 at [0 : i64] to [[SUM]] layer "total"
// CHECK-NEXT: tile.nest
// CHECK-NOT:  tile.stage "out"
// CHECK:      tile.beat "fwd" computes "fwd" over "k"({{.*}}, [[P]] "(B+b)n(512P+p)" as "Y")
// CHECK:      tile.epilogue [[P]] "(B+b)n(512P+p)" as "Y" by "BP" : memref<1x64x512xf32, "spad"> {
// CHECK-NEXT:   [[HERE:%.*]] = tile.piece [[R]] "(B+b)c(512P+p)" by "BP"
// CHECK-NEXT:   tile.copy [[HERE]] to [[IN]] layer "sum"
// CHECK-NEXT:   tile.map "add"([[P]], [[B]]) to [[P]] layer "bias"
// CHECK-NEXT:   tile.map "add"([[P]], [[IN]]) to [[P]] layer "sum"
// CHECK-NEXT:   tile.map "relu"([[P]]) to [[P]] layer "act"
// CHECK-NEXT:   tile.reduce "sum" [[P]] to [[PART]] layer "total"
// CHECK-NEXT:   tile.map "add"([[SUM]], [[PART]]) to [[SUM]] layer "total"
// CHECK-NEXT:   [[THERE:%.*]] = tile.piece [[D]]
// CHECK-NEXT:   tile.copy [[P]] to [[THERE]] layer "act"
// CHECK-NEXT: }
// CHECK-NOT:  tile.blocks
