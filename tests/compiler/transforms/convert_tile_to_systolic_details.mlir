// RUN: gradweave-opt %s -p 'convert-train-to-tile{schedule=ws},allocate-memory,convert-tile-to-systolic' | filecheck %s

// SGD with momentum and weight decay, in one chunk: v = 0.9 v + g; v = 0.01 w + v; w = -0.5 v + w. Weight and velocity go back to DRAM.
// CHECK-LABEL: systolic.program @momentum
// CHECK-LABEL: systolic.queue "dma_in" {
// CHECK:         systolic.ld dst <"@spad.f32[update.weight
// CHECK-NEXT:    systolic.ld dst <"@spad.f32[update.velocity
// CHECK-LABEL: systolic.queue "dma_out" {
// CHECK:         systolic.st dst <"@dram.f32[w@
// CHECK-NEXT:    systolic.st dst <"@dram.f32[velocity/w@
// CHECK-LABEL: systolic.queue "vector" {
// CHECK:         systolic.vec fn "fma" dst <"[[V:@spad.f32.update.velocity@\d+. x3]]"> a {{.*}}update.velocity{{.*}} c {{.*}}exp{{.*}} imm 9.000000e-01
// CHECK-NEXT:    systolic.vec fn "fma" dst <"[[V]]"> a {{.*}}update.weight{{.*}} c {{.*}}update.velocity{{.*}} imm 1.000000e-02
// CHECK-NEXT:    systolic.vec fn "fma" dst <"[[W:@spad.f32.update.weight@\d+. x3]]"> a {{.*}}update.velocity{{.*}} c {{.*}}update.weight{{.*}} imm -5.000000e-01
train.graph @momentum {
  %w = train.leaf "param" "w" : tensor<3xf32>
  %v = train.leaf "param" "velocity/w" : tensor<3xf32>
  %x = train.leaf "input" "x" : tensor<3xf32>
  %g = train.map "exp"(%x) layer "a" role "grad" : (tensor<3xf32>) -> tensor<3xf32>
  %new, %next = train.update(%w, %g, %v) lr 0.5 momentum 0.9 decay 0.01 layer "sgd" role "update" : (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>)
  train.output "param" "param/w" %new : tensor<3xf32>
  train.output "param" "param/velocity/w" %next : tensor<3xf32>
}

// A gradient of which dY is resident (ws): the chain loads dY from where it lies, and panels of dW leave while the next is summed, so
// half of it each. Nothing is summed over k, which streams, so it may go in blocks.
// CHECK-LABEL: systolic.program @panels
// CHECK:       systolic.semaphore "panel.out0.done" initial 0
// CHECK-NEXT:  systolic.semaphore "panel.out0.empty" initial 2
// CHECK-LABEL: systolic.queue "dma_out" {
// CHECK-NEXT:    systolic.loop name "K" count 2 from 2 {
// CHECK-NEXT:      systolic.wait sem 0 from 2
// CHECK-NEXT:      systolic.st dst <"dW@dram.f32[grad/w@{{\d+}} + 6400*%0] x1600"> src <"dW@spad.f32[fc.dW.panels@{{\d+}} + 6400*(%0 mod 2)] x1600"> from 2
// CHECK-NEXT:      systolic.signal sem 1 from 2
// CHECK-LABEL: systolic.queue "wchain" {
// CHECK:         systolic.wload src <"dY@spad.f32[grad/y@{{\d+}} + 6400*%1 + 128*%2] x32/40@%1:200 x32/50@%2"> from 2
// CHECK-LABEL: systolic.queue "array" {
// CHECK:         systolic.loop name "K" count 2 from 2 {
// CHECK-NEXT:      systolic.wait sem 1 from 2
// CHECK-NEXT:      systolic.loop name "b" count 2 from 2 {
// CHECK-NEXT:      systolic.loop name "n" count 2 from 2 {
// CHECK-NEXT:        systolic.loop name "k" count 32 from 2 {
// CHECK-NEXT:          systolic.fwd h <"X@spad{{.*}} x32/40@%1:256"> acc <"dW@spad{{.*}} + 128*%2 + 200*%3 + 6400*(%0 mod 2)] x32/50@%2"> zero <first, 1> swap <first, 3> from 2
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:      }
// CHECK-NEXT:      systolic.signal sem 0 from 2
train.graph @panels {
  %x = train.leaf "input" "x" : tensor<40x64xf32>
  %dy = train.leaf "input" "grad/y" : tensor<40x50xf32>
  %dw = train.product "bk,bn->kn"(%x, %dy) layer "fc" role "dw" : (tensor<40x64xf32>, tensor<40x50xf32>) -> tensor<64x50xf32>
  train.output "grad" "grad/w" %dw : tensor<64x50xf32>
}

// Operands that repeat have strides of 0, reduced dimensions come last; copies and functions meet by tokens.
// CHECK-LABEL: systolic.program @vectors
// CHECK-LABEL: systolic.queue "vector" {
// CHECK-NEXT:    systolic.wait sem 0
// CHECK-NEXT:    systolic.vec fn "add" dst <"{{.*}} x2 x3"> a {{.*}} x2 x3"> b {{.*}} x2:0 x3">
// CHECK-NEXT:    systolic.vec fn "copy" dst <"{{.*}} x3 x2"> a {{.*}} x3:4 x2:12">
// CHECK-NEXT:    systolic.red fn "sum" dst <"{{.*}} x2:4 x3:0"> a <"{{.*}} x2:4 x3:8">
// CHECK-NEXT:    systolic.signal sem 1
train.graph @vectors {
  %x = train.leaf "input" "x" : tensor<2x3xf32>
  %b = train.leaf "input" "b" : tensor<3xf32>
  %0 = train.map "add"(%x, %b) layer "a" role "fwd" : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %1 = train.transpose %0 perm [1, 0] layer "b" role "fwd" : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %2 = train.reduce "sum" %1 axes [0] layer "c" role "fwd" : (tensor<3x2xf32>) -> tensor<1x2xf32>
  train.output "output" "y" %2 : tensor<1x2xf32>
}
