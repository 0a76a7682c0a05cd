// RUN: gradweave-opt %s -p 'simplify' | filecheck %s

// CHECK-LABEL: train.graph @neutral
// CHECK-NEXT:  [[X:%.*]] = train.leaf
// CHECK-NEXT:  train.output "output" "y" [[X]]
train.graph @neutral {
  %x = train.leaf "input" "x" : tensor<2x1xf32>
  %one = train.constant dense<1.0> : tensor<f32>
  %zero = train.constant dense<0.0> : tensor<f32>
  %a = train.map "mul"(%one, %x) layer "a" role "fwd" : (tensor<f32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  %b = train.map "sub"(%a, %zero) layer "a" role "fwd" : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %c = train.map "div"(%b, %one) layer "a" role "fwd" : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %d = train.map "copy"(%c) layer "a" role "fwd" : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %e = train.reduce "sum" %d axes [1] layer "a" role "fwd" : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %f = train.transpose %e perm [1, 0] layer "a" role "fwd" : (tensor<2x1xf32>) -> tensor<1x2xf32>
  %g = train.reshape %f layer "a" role "fwd" : (tensor<1x2xf32>) -> tensor<2xf32>
  %h = train.reshape %g layer "a" role "fwd" : (tensor<2xf32>) -> tensor<2x1xf32>
  train.output "output" "y" %h : tensor<2x1xf32>
}

// Kept: 0 − x and 1 / x are not x, and a marked copy stops the gradient.
// CHECK-LABEL: train.graph @kept
// CHECK:       "sub"
// CHECK-NEXT:  "div"
// CHECK-NEXT:  "copy"{{.*}}stop_gradient
train.graph @kept {
  %x = train.leaf "input" "x" : tensor<2xf32>
  %one = train.constant dense<1.0> : tensor<f32>
  %zero = train.constant dense<0.0> : tensor<f32>
  %a = train.map "sub"(%zero, %x) layer "a" role "fwd" : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %b = train.map "div"(%one, %a) layer "a" role "fwd" : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %c = train.map "copy"(%b) layer "a" role "fwd" {stop_gradient} : (tensor<2xf32>) -> tensor<2xf32>
  train.output "output" "y" %c : tensor<2xf32>
}

// Equal work in two layers is done once, in the first; numbers are computed here; broadcasts sink and end in the function that broadcasts.
// CHECK-LABEL: train.graph @common
// CHECK:       [[X:%.*]] = train.leaf "input" "x"
// CHECK-NEXT:  [[Z:%.*]] = train.leaf "input" "z"
// CHECK-NEXT:  [[E:%.*]] = train.map "exp"([[Z]]) layer "a" role "fwd" : (tensor<1x3xf32>) -> tensor<1x3xf32>
// CHECK-NEXT:  [[C:%.*]] = train.constant dense<6.000000e+00> : tensor<f32>
// CHECK-NEXT:  [[M:%.*]] = train.map "fma"([[X]], [[E]], [[C]]) layer "a"
// CHECK-NEXT:  train.output "output" "y" [[M]]
// CHECK-NEXT:  train.output "output" "z" [[M]]
// CHECK-NEXT:  }
train.graph @common {
  %x = train.leaf "input" "x" : tensor<2x3xf32>
  %z = train.leaf "input" "z" : tensor<1x3xf32>
  %two = train.constant dense<2.0> : tensor<2x3xf32>
  %three = train.constant dense<3.0> : tensor<f32>
  %w = train.broadcast %z layer "a" role "fwd" : (tensor<1x3xf32>) -> tensor<2x3xf32>
  %e = train.map "exp"(%w) layer "a" role "fwd" : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %six = train.map "mul"(%two, %three) layer "a" role "fwd" : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
  %a = train.map "fma"(%x, %e, %six) layer "a" role "fwd" : (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %b = train.map "fma"(%x, %e, %six) layer "b" role "grad" : (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %dead = train.map "neg"(%b) layer "b" role "grad" : (tensor<2x3xf32>) -> tensor<2x3xf32>
  train.output "output" "y" %a : tensor<2x3xf32>
  train.output "output" "z" %b : tensor<2x3xf32>
}

// Transposes of operands and of the result are only other orders of the axes.
// CHECK-LABEL: train.graph @transposes
// CHECK:       [[X:%.*]] = train.leaf "input" "x"
// CHECK-NEXT:  [[W:%.*]] = train.leaf "param" "w"
// CHECK-NEXT:  [[Y:%.*]] = train.product "gkb,gnk->gnb"([[X]], [[W]]) layer "fc" role "fwd" : (tensor<7x4x2xf32>, tensor<7x3x4xf32>) -> tensor<7x3x2xf32>
// CHECK-NEXT:  train.output "output" "y" [[Y]]
train.graph @transposes {
  %x = train.leaf "input" "x" : tensor<7x4x2xf32>
  %w = train.leaf "param" "w" : tensor<7x3x4xf32>
  %a = train.transpose %x perm [0, 2, 1] layer "fc" role "fwd" : (tensor<7x4x2xf32>) -> tensor<7x2x4xf32>
  %b = train.transpose %w perm [0, 2, 1] layer "fc" role "fwd" : (tensor<7x3x4xf32>) -> tensor<7x4x3xf32>
  %c = train.product "gbk,gkn->gbn"(%a, %b) layer "fc" role "fwd" : (tensor<7x2x4xf32>, tensor<7x4x3xf32>) -> tensor<7x2x3xf32>
  %d = train.transpose %c perm [0, 2, 1] layer "fc" role "fwd" : (tensor<7x2x3xf32>) -> tensor<7x3x2xf32>
  train.output "output" "y" %d : tensor<7x3x2xf32>
}

// A batch axis that a transpose moves away from the front stays transposed.
// CHECK-LABEL: train.graph @heads
// CHECK:       train.transpose
train.graph @heads {
  %x = train.leaf "input" "x" : tensor<2x7x4xf32>
  %w = train.leaf "param" "w" : tensor<7x4x3xf32>
  %a = train.transpose %x perm [1, 0, 2] layer "fc" role "fwd" : (tensor<2x7x4xf32>) -> tensor<7x2x4xf32>
  %c = train.product "gbk,gkn->gbn"(%a, %w) layer "fc" role "fwd" : (tensor<7x2x4xf32>, tensor<7x4x3xf32>) -> tensor<7x2x3xf32>
  train.output "output" "y" %c : tensor<7x2x3xf32>
}
