;; Imports an interface that no host offers: refused at upload by name.
(component
  (import "acme:private/thing@1.0.0" (instance $i (export "do-it" (func))))
  (core func $f (canon lower (func $i "do-it")))
  (core module $m
    (import "" "do-it" (func $f))
    (func (export "run") (call $f)))
  (core instance $c (instantiate $m (with "" (instance (export "do-it" (func $f))))))
  (func (export "run") (canon lift (core func $c "run"))))
