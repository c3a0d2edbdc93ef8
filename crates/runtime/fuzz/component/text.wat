(component
  (import "wasi:io/poll@0.2.0" (instance (export "pollable" (type (sub resource)))))
  (core module $m (memory (export "memory") 1) (func (export "f") (result i32) (loop $a (loop $b (br_if $a (i32.const 0)))) i32.const 7))
  (core instance $i (instantiate $m))
  (func $f (result u32) (canon lift (core func $i "f")))
  (instance $e (export "f" (func $f)))
  (export "mistersmith:agent/handler@0.1.0" (instance $e)))
