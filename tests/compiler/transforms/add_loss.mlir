// RUN: gradweave-opt %s -p 'add-loss,differentiate' | filecheck %s
// RUN: gradweave-opt %s -p 'add-loss{kind=mse},differentiate' | filecheck %s --check-prefix=MSE

// A model that ends in Softmax: the loss takes the scores before it.
train.graph @net {
  %x = train.leaf "input" "x" : tensor<5x3xf32>
  %w = train.leaf "param" "w" : tensor<3x3xf32>
  %h = train.product "bk,kn->bn"(%x, %w) layer "fc" role "fwd" : (tensor<5x3xf32>, tensor<3x3xf32>) -> tensor<5x3xf32>
  %e = train.map "exp"(%h) layer "softmax" role "fwd" : (tensor<5x3xf32>) -> tensor<5x3xf32>
  %s = train.reduce "sum" %e axes [1] layer "softmax" role "fwd" : (tensor<5x3xf32>) -> tensor<5x1xf32>
  %y = train.map "div"(%e, %s) layer "softmax" role "fwd" : (tensor<5x3xf32>, tensor<5x1xf32>) -> tensor<5x3xf32>
  train.output "output" "y" %y : tensor<5x3xf32>
}

// CHECK:      [[H:%.*]] = train.product
// CHECK:      train.output "output" "y"
// CHECK-NEXT: [[L:%.*]] = train.leaf "labels" "labels" classes 3 : tensor<5xi32>
// CHECK-NEXT: [[M:%.*]] = train.reduce "max" [[H]] axes [1 : i64] layer "loss" role "loss"
// CHECK-NEXT: train.map "sub"([[H]], [[M]]) layer "loss" role "loss"
// CHECK:      train.output "output" "loss" {{%.*}} {loss} : tensor<f32>
// CHECK-NEXT: train.constant dense<1.000000e+00> : tensor<f32>
// CHECK-NOT:  "grad/y"
// CHECK:      train.output "grad" "grad/w"

// MSE:      [[Y:%.*]] = train.map "div"
// MSE:      train.output "output" "y" [[Y]]
// MSE-NEXT: [[L:%.*]] = train.leaf "input" "labels" : tensor<5x3xf32>
// MSE-NEXT: [[D:%.*]] = train.map "sub"([[Y]], [[L]]) layer "loss" role "loss"
// MSE-NEXT: [[S:%.*]] = train.map "mul"([[D]], [[D]])
// MSE-NEXT: train.reduce "sum" [[S]] axes [0 : i64, 1 : i64]
// MSE:      train.constant dense<1.500000e+01>
// MSE:      train.output "grad" "grad/w"

// Scores as convolutional networks without a fully-connected layer leave them; Softmax was taken over a flattened copy.
train.graph @pixel {
  %x = train.leaf "input" "x" : tensor<5x3xf32>
  %e = train.map "exp"(%x) layer "softmax" role "fwd" : (tensor<5x3xf32>) -> tensor<5x3xf32>
  %s = train.reduce "sum" %e axes [1] layer "softmax" role "fwd" : (tensor<5x3xf32>) -> tensor<5x1xf32>
  %d = train.map "div"(%e, %s) layer "softmax" role "fwd" : (tensor<5x3xf32>, tensor<5x1xf32>) -> tensor<5x3xf32>
  %y = train.reshape %d layer "softmax" role "fwd" : (tensor<5x3xf32>) -> tensor<5x3x1x1xf32>
  train.output "output" "y" %y : tensor<5x3x1x1xf32>
}

// A copy of another shape is no such copy: the loss is of the output itself.
train.graph @reshaped {
  %x = train.leaf "input" "x" : tensor<3x5xf32>
  %e = train.map "exp"(%x) layer "softmax" role "fwd" : (tensor<3x5xf32>) -> tensor<3x5xf32>
  %s = train.reduce "sum" %e axes [1] layer "softmax" role "fwd" : (tensor<3x5xf32>) -> tensor<3x1xf32>
  %d = train.map "div"(%e, %s) layer "softmax" role "fwd" : (tensor<3x5xf32>, tensor<3x1xf32>) -> tensor<3x5xf32>
  %y = train.reshape %d layer "softmax" role "fwd" : (tensor<3x5xf32>) -> tensor<5x3x1xf32>
  train.output "output" "y" %y : tensor<5x3x1xf32>
}

// CHECK-LABEL: train.graph @pixel
// CHECK:      [[X:%.*]] = train.leaf "input" "x"
// CHECK:      train.leaf "labels" "labels" classes 3 : tensor<5xi32>
// CHECK-NEXT: train.reduce "max" [[X]] axes [1 : i64] layer "loss" role "loss" : (tensor<5x3xf32>) -> tensor<5x1xf32>

// CHECK-LABEL: train.graph @reshaped
// CHECK:      [[Y:%.*]] = train.reshape
// CHECK:      train.leaf "labels" "labels" classes 3 : tensor<5xi32>
// CHECK-NEXT: [[Z:%.*]] = train.reshape [[Y]] layer "loss" role "loss" : (tensor<5x3x1xf32>) -> tensor<5x3xf32>
// CHECK-NEXT: train.reduce "max" [[Z]] axes [1 : i64] layer "loss"
