package scamp

import "reflect"

// overlay returns a with every field that is zero taken from b, also inside structs.
func overlay[T any](a, b T) T {
	fill(reflect.ValueOf(&a).Elem(), reflect.ValueOf(b))
	return a
}

func fill(a, b reflect.Value) {
	for i := range a.NumField() {
		switch f := a.Field(i); {
		case f.Kind() == reflect.Struct:
			fill(f, b.Field(i))
		case f.IsZero():
			f.Set(b.Field(i))
		}
	}
}
