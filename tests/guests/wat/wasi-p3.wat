;; Imports WASI 0.3: refused at upload by name.
(component
  (import "wasi:random/random@0.3.0" (instance $i
    (export "get-random-u64" (func (result u64)))))
  (core func $f (canon lower (func $i "get-random-u64")))
  (core module $m
    (import "" "random" (func $f (result i64)))
    (func (export "run") (result i64) (call $f)))
  (core instance $c (instantiate $m (with "" (instance (export "random" (func $f))))))
  (func (export "run") (result u64) (canon lift (core func $c "run"))))
