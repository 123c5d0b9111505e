package assets

import "github.com/slipwayhq/slipway/models"

// Builder makes a manifest from collected output files. It is for one
// goroutine.
type Builder struct {
	manifest Manifest
}

// NewBuilder starts a manifest with these settings; empty ones take their
// defaults. An unknown mode is CodeValidation.
func NewBuilder(config Config) (*Builder, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Builder{manifest: Manifest{
		Version: ManifestVersion,
		Config:  config,
		Files:   make(map[string]File),
	}}, nil
}

// Add lists one file under its decoded path with a leading slash. A path that
// cannot be served, a control file, a second file of the same path or a
// malformed digest is CodeReleaseInvalid.
func (b *Builder) Add(path string, file File) error {
	if err := validateFilePath(path); err != nil {
		return err
	}
	if err := file.validate(path); err != nil {
		return err
	}
	if _, taken := b.manifest.Files[path]; taken {
		return models.Errorf(models.CodeReleaseInvalid, "The release has two files %q", path)
	}
	if len(b.manifest.Files) >= MaxManifestFiles {
		return models.Errorf(models.CodeReleaseInvalid, "The release has more than %d files", MaxManifestFiles)
	}
	b.manifest.Files[path] = file
	return nil
}

// SetHeaders takes what ParseHeaders gave for the output's _headers file.
func (b *Builder) SetHeaders(rules []HeaderRule) { b.manifest.Headers = rules }

// SetRedirects takes what ParseRedirects gave for the output's _redirects file.
func (b *Builder) SetRedirects(rules []Redirect) { b.manifest.Redirects = rules }

// Build gives the manifest. The builder must not be used afterwards.
func (b *Builder) Build() (*Manifest, error) {
	if err := b.manifest.validate(); err != nil {
		return nil, err
	}
	return &b.manifest, nil
}
