// RUN: gradweave-opt %s -p 'convert-train-to-tile{dram-above=65536},fuse-blocks' | filecheck %s

// Four passes over tensors of 2 MB, one loop: %a never goes to DRAM, %b does since it is wanted, %x is loaded once.  A sum over pixels
// goes along too, for its blocks are those of the channels; what needs all of that sum cannot.
train.graph @chain {
  %x = train.leaf "input" "x" : tensor<4x64x2048xf32>
  %a = train.map "exp"(%x) layer "a" role "fwd" : (tensor<4x64x2048xf32>) -> tensor<4x64x2048xf32>
  %b = train.map "neg"(%a) layer "b" role "fwd" : (tensor<4x64x2048xf32>) -> tensor<4x64x2048xf32>
  %c = train.map "mul"(%b, %x) layer "c" role "fwd" : (tensor<4x64x2048xf32>, tensor<4x64x2048xf32>) -> tensor<4x64x2048xf32>
  %d = train.reduce "sum" %c axes [0, 2] layer "d" role "fwd" : (tensor<4x64x2048xf32>) -> tensor<1x64x1xf32>
  %e = train.transpose %d perm [1, 0, 2] layer "e" role "fwd" : (tensor<1x64x1xf32>) -> tensor<64x1x1xf32>
  train.output "output" "b" %b : tensor<4x64x2048xf32>
  train.output "output" "e" %e : tensor<64x1x1xf32>
}

// CHECK:      [[X:%.*]] = tile.tensor "input" "x"
// CHECK-NOT:  tile.tensor "scratch" "a
// CHECK:      [[B:%.*]] = tile.tensor "scratch" "b"
// CHECK:      tile.blocks 64 slots 2
// CHECK-NEXT:   tile.window [[X]] axis 1
// CHECK-NEXT:   tile.copy {{.*}} to [[XP:%.*]] layer "a"
// CHECK-NEXT:   tile.map "exp"([[XP]]) to [[AP:%.*]] layer "a"
// CHECK-NEXT:   [[BW:%.*]] = tile.window [[B]] axis 1
// CHECK-NEXT:   tile.map "neg"([[AP]]) to [[BP:%.*]] layer "b"
// CHECK-NEXT:   tile.copy [[BP]] to [[BW]] layer "b"
// CHECK-NEXT:   tile.map "mul"([[BP]], [[XP]]) to [[CP:%.*]] layer "c"
// CHECK-NEXT:   tile.window [[D:%.*]] axis 1
// CHECK-NEXT:   tile.reduce "sum" [[CP]]
// CHECK-NEXT: }
// CHECK:      tile.transpose [[D]]
