package mirror

// Columns are the names of the columns of an object's table, in their order.
func Columns(object string) []string { return sqliteDialect.textsOf(tables[object]).names }

// TableOf is the name of the table of an object.
func TableOf(object string) (string, bool) {
	t := tables[object]
	if t == nil {
		return "", false
	}
	return t.name, true
}

// Doubted is the report of a comparison that did not believe that many records are deleted.
func Doubted(why error) Report { return Report{Objects: []ReconciledObject{{doubt: why}}} }
