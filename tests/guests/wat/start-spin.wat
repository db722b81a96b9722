;; Its start function never ends: crosses `cpu-ms` before any call of its exports.
(component
  (core module $m
    (func $start (loop $again (br $again)))
    (start $start)
    (func (export "run") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func (export "run") (result u32) (canon lift (core func $i "run"))))
