package shape

// Field is the definition of a field of an object.
type Field struct {
	Key     string   `json:"key"`   // as the API names it; 40 hexadecimal digits when custom
	Name    string   `json:"name"`  // as code names it: contract_end; unique within its object
	Label   string   `json:"label"` // as people name it: Contract end
	Type    string   `json:"type"`  // varchar, enum, set, monetary, date, …
	Custom  bool     `json:"custom,omitempty"`
	Options []Option `json:"options,omitempty"`
}

// Option is a choice of a field of type enum or set.
type Option struct {
	ID    int64  `json:"id"`
	Label string `json:"label"`
}
