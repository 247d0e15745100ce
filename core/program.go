package core

// ProgramLimits are what the process of a plugin may take, as the user writes them: for a listener, a
// stage or a source alike.
type ProgramLimits struct {
	Memory    Size `koanf:"memory" validate:"omitempty,gte=33554432"` // 0 for any number of bytes
	OpenFiles int  `koanf:"open_files" validate:"omitempty,gte=32"`   // 0 for as many as pipehook may have
}
