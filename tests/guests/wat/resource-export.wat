;; Exports a function over a resource of its own: no JSON stands for a handle, so it is refused at
;; upload.
(component
  (type $r' (resource (rep i32)))
  (export $r "thing" (type $r'))
  (core func $new (canon resource.new $r'))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (func (export "make") (result i32) (call $new (i32.const 1))))
  (core instance $c (instantiate $m (with "" (instance (export "new" (func $new))))))
  (func (export "make") (result (own $r)) (canon lift (core func $c "make"))))
