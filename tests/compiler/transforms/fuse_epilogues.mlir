// RUN: gradweave-opt %s -p 'convert-train-to-tile{dram-above=65536},fuse-epilogues' | filecheck %s

// The product of 8 x 64 x 4096 goes out by images.  Bias and activation are added to a panel where the array left it, so it is the
// activation that is stored; the tensor that is added comes in as panels of its own, the sum over all images is added up on the way.
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
// CHECK:      tile.nest
