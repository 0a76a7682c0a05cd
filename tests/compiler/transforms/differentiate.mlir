// RUN: gradweave-opt %s -p 'differentiate' | filecheck %s
// RUN: gradweave-opt %s -p 'differentiate{input-grads="x"}' | filecheck %s --check-prefix=INPUT

// Two layers share a weight; the second has a bias and a scalar weight.
train.graph @shared {
  %x = train.leaf "input" "x" : tensor<5x4xf32>
  %w = train.leaf "param" "w" : tensor<4x4xf32>
  %b = train.leaf "param" "b" : tensor<4xf32>
  %gain = train.leaf "param" "gain" : tensor<f32>
  %h = train.product "bk,nk->bn"(%x, %w) layer "fc1" role "fwd" : (tensor<5x4xf32>, tensor<4x4xf32>) -> tensor<5x4xf32>
  %r = train.map "relu"(%h) layer "act" role "fwd" : (tensor<5x4xf32>) -> tensor<5x4xf32>
  %k = train.map "copy"(%r) layer "act" role "fwd" {stop_gradient} : (tensor<5x4xf32>) -> tensor<5x4xf32>
  %p = train.product "bk,nk->bn"(%r, %w) layer "fc2" role "fwd" : (tensor<5x4xf32>, tensor<4x4xf32>) -> tensor<5x4xf32>
  %q = train.map "fma"(%k, %gain, %p) layer "fc2" role "fwd" : (tensor<5x4xf32>, tensor<f32>, tensor<5x4xf32>) -> tensor<5x4xf32>
  %y = train.map "add"(%q, %b) layer "fc2" role "fwd" : (tensor<5x4xf32>, tensor<4xf32>) -> tensor<5x4xf32>
  train.output "output" "y" %y : tensor<5x4xf32>
}

// The copy has done its work.
// CHECK-LABEL: train.graph @shared
// CHECK:       [[X:%.*]] = train.leaf "input" "x"
// CHECK:       [[W:%.*]] = train.leaf "param" "w"
// CHECK:       [[H:%.*]] = train.product "bk,nk->bn"([[X]], [[W]]) layer "fc1" role "fwd"
// CHECK:       [[R:%.*]] = train.map "relu"([[H]]) layer "act"
// CHECK-NOT:   "copy"
// CHECK:       [[Y:%.*]] = train.map "add"

// The bias sums over the batch, both products of fc2 share dY, the copy passes nothing back.
// CHECK:       [[DY:%.*]] = train.leaf "input" "grad/y" : tensor<5x4xf32>
// CHECK-NEXT:  [[SUM:%.*]] = train.reduce "sum" [[DY]] axes [0 : i64] layer "fc2" role "grad"
// CHECK-NEXT:  [[DB:%.*]] = train.reshape [[SUM]] layer "fc2" role "grad"
// CHECK-NEXT:  [[DR:%.*]] = train.product "bn,nk->bk"([[DY]], [[W]]) layer "fc2" role "dx"
// CHECK-NEXT:  [[DW2:%.*]] = train.product "bk,bn->nk"([[R]], [[DY]]) layer "fc2" role "dw"
// CHECK-NEXT:  [[DH:%.*]] = train.map "relu_grad"([[DR]], [[R]]) layer "act" role "grad"

// No gradient of the input; the shared weight's two gradients are summed; a scalar weight is not trained.
// CHECK-NEXT:  [[DW1:%.*]] = train.product "bk,bn->nk"([[X]], [[DH]]) layer "fc1" role "dw"
// CHECK-NEXT:  [[DW:%.*]] = train.map "add"([[DW2]], [[DW1]]) layer "fc1" role "grad"
// CHECK-NEXT:  train.output "grad" "grad/w" [[DW]]
// CHECK-NEXT:  train.output "grad" "grad/b" [[DB]]
// CHECK-NEXT:  }

// INPUT-LABEL: train.graph @shared
// INPUT:       [[DX:%.*]] = train.product "bn,nk->bk"({{%.*, %.*}}) layer "fc1" role "dx"
// INPUT:       train.output "grad" "grad/x" [[DX]]

// A running statistic is not trained, and what it becomes has no gradient.
train.graph @running {
  %x = train.leaf "input" "x" : tensor<5x4xf32>
  %w = train.leaf "param" "w" : tensor<4xf32>
  %m = train.leaf "param" "mean" {frozen} : tensor<4xf32>
  %c = train.map "sub"(%x, %m) layer "norm" role "fwd" : (tensor<5x4xf32>, tensor<4xf32>) -> tensor<5x4xf32>
  %y = train.map "mul"(%c, %w) layer "norm" role "fwd" : (tensor<5x4xf32>, tensor<4xf32>) -> tensor<5x4xf32>
  %n = train.map "add"(%m, %w) layer "norm" role "fwd" : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %s = train.map "copy"(%n) layer "norm" role "fwd" {stop_gradient} : (tensor<4xf32>) -> tensor<4xf32>
  train.output "output" "y" %y : tensor<5x4xf32>
  train.output "output" "n" %s : tensor<4xf32>
}

// CHECK-LABEL: train.graph @running
// CHECK:       [[N:%.*]] = train.map "add"
// CHECK:       train.output "output" "n" [[N]]
// CHECK-NEXT:  train.leaf "input" "grad/y"
// CHECK-NOT:   "grad/n"
// CHECK-NOT:   "grad/mean"
// CHECK:       train.output "grad" "grad/w"
// CHECK-NEXT:  }
