;; `text` returns a string that lies outside its memory, `long` one of nearly 4 GiB: both trap in the
;; host's lifting, which must not read a byte of it.
(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "text") (result i32)
      (i32.store (i32.const 16) (i32.const 65530))
      (i32.store (i32.const 20) (i32.const 100))
      (i32.const 16))
    (func (export "long") (result i32)
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.const -16))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (func (export "text") (result string)
    (canon lift (core func $i "text") (memory $memory)))
  (func (export "long") (result string)
    (canon lift (core func $i "long") (memory $memory))))
