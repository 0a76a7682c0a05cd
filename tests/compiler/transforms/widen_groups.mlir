// RUN: gradweave-opt %s -p 'widen-groups' | filecheck %s

// A depthwise convolution of 48 channels on 32×32: groups of 24 channels, the filters on the diagonal of 24 · 24 = 576 (entries 25 apart).
// W' is made once for both products that read it; the gradient of W is the diagonal of that of W'. MACs are those of the graph.
// CHECK:      [[W:%.*]] = train.leaf "param" "w"
// CHECK:      [[GROUPS:%.*]] = train.reshape [[W]] {{.*}} -> tensor<2x24x3x3xf32>
// CHECK-NEXT: [[PLACED:%.*]] = train.place [[GROUPS]] at {{.*}} by [1 : i64, 25 : i64, 1 : i64, 1 : i64] in 0.0{{.*}} -> tensor<2x576x3x3xf32>
// CHECK-NEXT: [[WIDE:%.*]] = train.reshape [[PLACED]] {{.*}} -> tensor<48x24x3x3xf32>
// CHECK-NEXT: train.product "b(24g+k)(y+r)(x+s),(24g+n)krs->b(24g+n)yx"({{.*}}, [[WIDE]]) work 31104
// CHECK-NEXT: train.product "b(24g+n)yx,(24g+n)krs->b(24g+k)(y+r)(x+s)"({{.*}}, [[WIDE]]) work 31104
// CHECK-NEXT: [[DW:%.*]] = train.product "b(24g+k)(y+r)(x+s),b(24g+n)yx->(24g+n)krs"{{.*}} work 31104
// CHECK-SAME: -> tensor<48x24x3x3xf32>
// CHECK-NEXT: [[SQUARE:%.*]] = train.reshape [[DW]] {{.*}} -> tensor<2x576x3x3xf32>
// CHECK-NEXT: [[CUT:%.*]] = train.slice [[SQUARE]] from {{.*}} by [1 : i64, 25 : i64, 1 : i64, 1 : i64]
// CHECK-NEXT: train.reshape [[CUT]] {{.*}} -> tensor<48x1x3x3xf32>
train.graph @depthwise {
  %x = train.leaf "input" "x" : tensor<2x48x8x8xf32>
  %w = train.leaf "param" "w" : tensor<48x1x3x3xf32>
  %dy = train.leaf "input" "dy" : tensor<2x48x6x6xf32>
  %y = train.product "b(g+k)(y+r)(x+s),(g+n)krs->b(g+n)yx"(%x, %w) layer "c" role "fwd" : (tensor<2x48x8x8xf32>, tensor<48x1x3x3xf32>) -> tensor<2x48x6x6xf32>
  %dx = train.product "b(g+n)yx,(g+n)krs->b(g+k)(y+r)(x+s)"(%dy, %w) layer "c" role "dx" : (tensor<2x48x6x6xf32>, tensor<48x1x3x3xf32>) -> tensor<2x48x8x8xf32>
  %dw = train.product "b(g+k)(y+r)(x+s),b(g+n)yx->(g+n)krs"(%x, %dy) layer "c" role "dw" : (tensor<2x48x8x8xf32>, tensor<2x48x6x6xf32>) -> tensor<48x1x3x3xf32>
  train.output "output" "y" %y : tensor<2x48x6x6xf32>
  train.output "grad" "dx" %dx : tensor<2x48x8x8xf32>
  train.output "grad" "dw" %dw : tensor<48x1x3x3xf32>
}
