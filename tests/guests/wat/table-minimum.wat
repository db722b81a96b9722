;; A table whose smallest size is 20 million elements: crosses `table-elements` before its first call.
(component
  (core module $m
    (table 20000000 funcref)
    (func (export "run") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func (export "run") (result u32) (canon lift (core func $i "run"))))
