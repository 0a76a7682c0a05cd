// RUN: gradweave-opt %s -p 'differentiate{input-grads=x},convert-train-to-tile,allocate-memory,convert-tile-to-systolic' | filecheck %s

// Overlapping windows of 3 x 3 with stride 2, and the gradient of their maximum.
train.graph @pool {
  %x = train.leaf "input" "x" : tensor<2x3x9x9xf32>
  %y = train.pool "max" %x kernel [1, 1, 3, 3] strides [1, 1, 2, 2] dilations [1, 1, 1, 1] layer "pool" role "fwd" : (tensor<2x3x9x9xf32>) -> tensor<2x3x4x4xf32>
  train.output "output" "y" %y : tensor<2x3x4x4xf32>
}

// Tap by tap: one instruction takes the maximum of Y and what all windows have at the tap (%0: row, %1: column; windows are 2 apart).
// CHECK-LABEL: systolic.queue "vector" {
// CHECK:         systolic.vec fn "copy" dst <"[[Y:@spad.f32.pool.pool@\d+.]] x96"> imm -3.4028234663852886e+38
// CHECK-NEXT:    systolic.loop name "t2" count 3 from [[FWD:\d+]] {
// CHECK-NEXT:      systolic.loop name "t3" count 3 from [[FWD]] {
// CHECK-NEXT:        systolic.vec fn "max" dst <"[[Y]] x6 x4 x4"> a #systolic.stream<"[[Y]] x6 x4 x4"> b #systolic.stream<"[[TAP:@spad.f32.x@\d+ . 36.%0 . 4.%1. x6:324 x4:72 x4:8]]"> from [[FWD]]

// The gradient goes to the first tap that holds the maximum. "left" is 1 for windows whose maximum was not met yet; "chosen" is 1 where this
// tap is it. Then dX at the tap += chosen * dY.
// CHECK:         systolic.vec fn "copy" dst <"@spad.f32[pool.dX@{{\d+}}] x486">
// CHECK:         systolic.vec fn "copy" dst <"[[LEFT:@spad.f32.pool.dX.work@\d+.]] x96"> imm 1.000000e+00
// CHECK-NEXT:    systolic.loop name "t2" count 3 from [[BWD:\d+]] {
// CHECK-NEXT:      systolic.loop name "t3" count 3 from [[BWD]] {
// CHECK-NEXT:        systolic.vec fn "eq" dst <"[[CHOSEN:@spad.f32.pool.dX.work.2@\d+.]] x6 x4 x4"> a #systolic.stream<"[[TAP]]"> b #systolic.stream<"[[Y]] x6 x4 x4"> from [[BWD]]
// CHECK-NEXT:        systolic.vec fn "mul" dst <"[[CHOSEN]] x6 x4 x4"> a #systolic.stream<"[[CHOSEN]] x6 x4 x4"> b #systolic.stream<"[[LEFT]] x6 x4 x4">
// CHECK-NEXT:        systolic.vec fn "sub" dst <"[[LEFT]] x6 x4 x4"> a #systolic.stream<"[[LEFT]] x6 x4 x4"> b #systolic.stream<"[[CHOSEN]] x6 x4 x4">
// CHECK-NEXT:        systolic.vec fn "fma" dst <"[[DX:@spad.f32.pool.dX@\d+ . 36.%0 . 4.%1. x6:324 x4:72 x4:8]]"> a #systolic.stream<"[[CHOSEN]] x6 x4 x4"> b #systolic.stream<"@spad.f32[grad/y@{{\d+}}] x6 x4 x4"> c #systolic.stream<"[[DX]]">
