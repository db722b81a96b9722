;; `grow` makes a table larger by so many elements: crosses `table-elements`. The answer is the size
;; before, or 4294967295 where it was refused.
(component
  (core module $m
    (table 1 funcref)
    (func (export "grow") (param i32) (result i32)
      (table.grow (ref.null func) (local.get 0))))
  (core instance $i (instantiate $m))
  (func (export "grow") (param "elements" u32) (result u32)
    (canon lift (core func $i "grow"))))
