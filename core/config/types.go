package config

import (
	"reflect"

	"github.com/pipehook/pipehook/core"
)

// Size is a number of bytes.
type Size = core.Size

var whereType = reflect.TypeFor[core.Where]()
