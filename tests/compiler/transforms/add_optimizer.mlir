// RUN: gradweave-opt %s -p 'add-optimizer{lr=0.5 momentum=0.25 weight-decay=0.125}' | filecheck %s
// RUN: gradweave-opt %s -p 'add-optimizer' | filecheck %s --check-prefix=PLAIN

train.graph @net {
  %w = train.leaf "param" "w" : tensor<3xf32>
  %frozen = train.leaf "param" "frozen" : tensor<3xf32>
  %g = train.leaf "input" "grad/y" : tensor<3xf32>
  train.output "grad" "grad/w" %g : tensor<3xf32>
}

// CHECK:      [[W:%.*]] = train.leaf "param" "w"
// CHECK:      [[G:%.*]] = train.leaf "input" "grad/y"
// CHECK:      [[V:%.*]] = train.leaf "param" "velocity/w" : tensor<3xf32>
// CHECK-NEXT: [[NEW:%.*]], [[NEXT:%.*]] = train.update([[W]], [[G]], [[V]]) lr 5.000000e-01 momentum 2.500000e-01 decay 1.250000e-01 layer "sgd" role "update"
// CHECK-NEXT: train.output "param" "param/w" [[NEW]]
// CHECK-NEXT: train.output "param" "param/velocity/w" [[NEXT]]
// CHECK-NOT:  frozen

// PLAIN:      [[NEW:%.*]] = train.update({{%.*, %.*}}) lr 1.000000e-02 momentum 0.000000e+00 decay 0.000000e+00
// PLAIN-NEXT: train.output "param" "param/w" [[NEW]]
// PLAIN-NEXT: }
