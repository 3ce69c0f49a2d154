package onceward

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

// keepable reports what of t JSON would silently drop: a struct without an exported field is {} whatever it holds. Two
// inputs of such a type would count as the same request, and a result would come back empty.
func keepable(t reflect.Type) error {
	if known, ok := kept.Load(t); ok {
		err, _ := known.(error)
		return err
	}
	err := lookInside(t, make(map[reflect.Type]bool))
	kept.Store(t, err)
	return err
}

// kept remembers types, of which a program has few.
var kept sync.Map

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

func lookInside(t reflect.Type, seen map[reflect.Type]bool) error {
	pointer := reflect.PointerTo(t)
	if seen[t] || pointer.Implements(jsonMarshaler) || pointer.Implements(textMarshaler) {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return lookInside(t.Elem(), seen)
	case reflect.Struct:
		return lookAtFields(t, seen)
	default:
		return nil
	}
}

func lookAtFields(t reflect.Type, seen map[reflect.Type]bool) error {
	exported := 0
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() && !f.Anonymous || f.Tag.Get("json") == "-" {
			continue
		}
		exported++
		if err := lookInside(f.Type, seen); err != nil {
			return err
		}
	}
	if exported == 0 && t.NumField() > 0 {
		return fmt.Errorf("%v has no exported fields, so JSON keeps nothing of it; export them or give it a MarshalJSON", t)
	}
	return nil
}
