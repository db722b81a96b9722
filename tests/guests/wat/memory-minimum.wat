;; A memory whose smallest size is 1 GiB: crosses `memory-bytes` before its first call.
(component
  (core module $m
    (memory 16384)
    (func (export "run") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func (export "run") (result u32) (canon lift (core func $i "run"))))
