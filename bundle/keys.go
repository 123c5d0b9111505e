package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// key is what happens to one key of a wrangler file. Exactly one of read, note,
// refused and silent is set.
type key struct {
	// read takes the value; the setting is honoured.
	read func(*Settings, json.RawMessage) error
	// note says why the value has no effect; the build log gets it.
	note string
	// refused says what to do instead; the build fails.
	refused string
	// byDefault, with refused, is for what a build tool sets without being asked:
	// in settings it generated, this is a note instead.
	byDefault string
	// silent says, to readers of this table, why nobody needs to be told.
	silent string
}

const (
	useKV        = "keep what must last in a KV namespace (kv_namespaces), or in a service that the worker reaches with fetch"
	useFetch     = "call the service over HTTPS with fetch instead, with its key as a secret of the project"
	ownLimits    = "the limits of this installation hold"
	importModule = "import the file in the code instead (workers in module syntax import .wasm, .txt and .bin files)"
)

// keys are all that wrangler knows, as of its version 4.
var keys = map[string]key{
	"name":                    {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.Name) }},
	"main":                    {read: func(s *Settings, raw json.RawMessage) error { return readPath(raw, &s.Main) }},
	"compatibility_date":      {read: readDate},
	"compatibility_flags":     {read: readFlags},
	"vars":                    {read: readVars},
	"kv_namespaces":           {read: readKV},
	"assets":                  {read: readAssets},
	"services":                {read: readServices},
	"pages_build_output_dir":  {read: func(s *Settings, raw json.RawMessage) error { return readPath(raw, &s.PagesOutput) }},
	"build":                   {read: readBuild},
	"no_bundle":               {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.NoBundle) }},
	"find_additional_modules": {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.FindAdditionalModules) }},
	"preserve_file_names":     {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.PreserveFileNames) }},
	"base_dir":                {read: func(s *Settings, raw json.RawMessage) error { return readPath(raw, &s.BaseDir) }},
	"rules":                   {read: readRules},
	"alias":                   {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.Alias) }},
	"define":                  {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.Define) }},
	"minify":                  {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.Minify) }},
	"keep_names":              {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.KeepNames) }},
	"tsconfig":                {read: func(s *Settings, raw json.RawMessage) error { return readPath(raw, &s.TSConfig) }},
	"jsx_factory":             {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.JSXFactory) }},
	"jsx_fragment":            {read: func(s *Settings, raw json.RawMessage) error { return json.Unmarshal(raw, &s.JSXFragment) }},

	"$schema":             {silent: "for editors"},
	"account_id":          {silent: "there is no account at Cloudflare in this"},
	"configPath":          {silent: "says where a generated file came from"},
	"userConfigPath":      {silent: "says where a generated file came from"},
	"topLevelName":        {silent: "says what a generated file came from"},
	"definedEnvironments": {silent: "says what a generated file came from"},
	"targetEnvironment":   {silent: "says what a generated file came from"},
	"legacy_env":          {silent: "about names of environments"},
	"dev":                 {silent: "for wrangler dev"},
	"send_metrics":        {silent: "about wrangler itself"},
	"workers_dev":         {silent: "the project's address is its worker name's"},
	"previews":            {silent: "about Cloudflare's own previews"},
	"preview_urls":        {silent: "every release has an address of its own"},
	"observability":       {silent: "the worker's log is always kept"},
	"upload_source_maps":  {silent: "source maps are always kept, for error reports"},
	"python_modules":      {silent: "only for Python workers, which main shows"},
	"keep_vars":           {silent: "the project's variables always stay, and win"},
	"first_party_worker":  {silent: "Cloudflare's own"},

	"env":                          {note: "named environments are not chosen between, the top level counts"},
	"route":                        {note: "add the project's custom domains instead"},
	"routes":                       {note: "add the project's custom domains instead"},
	"placement":                    {note: "the worker runs on this installation's machines"},
	"compliance_region":            {note: "the worker runs on this installation's machines"},
	"limits":                       {note: ownLimits},
	"usage_model":                  {note: ownLimits},
	"logpush":                      {note: "follow the worker's log with slipway tail"},
	"secrets":                      {note: "it only lists what the worker needs; set the secrets themselves on the project"},
	"dependencies_instrumentation": {note: "it is about Cloudflare's dashboard"},

	"durable_objects": {refused: "Durable Objects are not available here. Remove them, and " + useKV},
	"migrations":      {refused: "it is for Durable Objects, which are not available here. Remove it, and " + useKV},
	"d1_databases":    {refused: "D1 databases are not available here. Use a database that the worker reaches with fetch, or " + useKV},
	"r2_buckets":      {refused: "there are no R2 buckets here. Reach an S3-compatible store with fetch, or " + useKV},

	"queues":               {refused: "there are no queues here. Do the work in the request, or after it with ctx.waitUntil"},
	"triggers":             {refused: "workers are not started by a clock here. Remove triggers, and call the worker over HTTP from a scheduler"},
	"workflows":            {refused: "there are no Workflows here"},
	"ai":                   {refused: "there is no AI binding here; " + useFetch},
	"ai_search":            {refused: "there is no AI binding here; " + useFetch},
	"ai_search_namespaces": {refused: "there is no AI binding here; " + useFetch},
	"agent_memory":         {refused: "there is no AI binding here; " + useFetch},
	"browser":              {refused: "there is no browser binding here; " + useFetch},
	"images": {
		refused: "there is no images binding here; transform images in the build, or with a service",
		// @astrojs/cloudflare asks for it unless another imageService is set.
		byDefault: `there is no images binding here; where the adapter has an imageService, set it to "compile" or "passthrough"`,
	},
	"media":                     {refused: "there is no media binding here; " + useFetch},
	"stream":                    {refused: "there is no stream binding here; " + useFetch},
	"hyperdrive":                {refused: "there is no Hyperdrive here; use a database that the worker reaches with fetch"},
	"vectorize":                 {refused: "there is no Vectorize here; " + useFetch},
	"send_email":                {refused: "workers do not send e-mail here; " + useFetch},
	"analytics_engine_datasets": {refused: "there is no Analytics Engine here; write to console.log, or to a service with fetch"},
	"version_metadata":          {refused: "there is no version binding here; put the version into vars"},
	"mtls_certificates":         {refused: "workers have no client certificates here"},
	"dispatch_namespaces":       {refused: "workers do not dispatch to others here"},
	"worker_loaders":            {refused: "workers do not load others here"},
	"pipelines":                 {refused: "there are no Pipelines here; " + useFetch},
	"secrets_store_secrets":     {refused: "there is no Secrets Store here; set the secret on the project"},
	"ratelimits":                {refused: "there is no rate limiting binding here; count in a KV namespace"},
	"vpc_services":              {refused: "workers reach public addresses only"},
	"vpc_networks":              {refused: "workers reach public addresses only"},
	"tail_consumers":            {refused: "workers do not read the logs of others here. Follow the log with slipway tail"},
	"streaming_tail_consumers":  {refused: "workers do not read the logs of others here. Follow the log with slipway tail"},
	"logfwdr":                   {refused: "logs are not forwarded. Follow the log with slipway tail"},
	"containers":                {refused: "there are no containers here"},
	"cloudchamber":              {refused: "there are no containers here"},
	"artifacts":                 {refused: "there are no artifacts here"},
	"flagship":                  {refused: "there are no feature flags here"},
	"unsafe":                    {refused: "it reaches into Cloudflare's own platform"},
	"unsafe_hello_world":        {refused: "it reaches into Cloudflare's own platform"},
	"site":                      {refused: "Workers Sites is superseded: name the folder in assets.directory"},
	"legacy_assets":             {refused: "it is superseded: name the folder in assets.directory"},
	"node_compat":               {refused: `it is superseded: add "nodejs_compat" to compatibility_flags`},
	"wasm_modules":              {refused: importModule},
	"text_blobs":                {refused: importModule},
	"data_blobs":                {refused: importModule},
}

func readPath(raw json.RawMessage, into *string) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return err
	}
	if len(*into) > 1024 || strings.ContainsFunc(*into, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return errors.New("is no path")
	}
	return nil
}

func readDate(s *Settings, raw json.RawMessage) error {
	if err := json.Unmarshal(raw, &s.CompatibilityDate); err != nil {
		return err
	}
	// TOML has dates of its own, which come with a time.
	if date, midnight := strings.CutSuffix(s.CompatibilityDate, "T00:00:00Z"); midnight {
		s.CompatibilityDate = date
	}
	if s.CompatibilityDate != "" && !isDate(s.CompatibilityDate) {
		return fmt.Errorf("is %q and must be a date such as %q", clip(s.CompatibilityDate), DefaultCompatibilityDate)
	}
	return nil
}

func readFlags(s *Settings, raw json.RawMessage) error {
	if err := json.Unmarshal(raw, &s.CompatibilityFlags); err != nil {
		return err
	}
	if problem := checkFlags(s.CompatibilityFlags); problem != "" {
		return errors.New(problem)
	}
	return nil
}

func readVars(s *Settings, raw json.RawMessage) error {
	if err := json.Unmarshal(raw, &s.Vars); err != nil {
		return err
	}
	if problem := checkVars(s.Vars); problem != "" {
		return errors.New(problem)
	}
	return nil
}

func readKV(s *Settings, raw json.RawMessage) error {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	for _, entry := range list {
		var kv models.KVBinding
		for _, field := range sortedKeys(entry) {
			var err error
			switch field {
			case "binding":
				err = json.Unmarshal(entry[field], &kv.Binding)
			case "id":
				err = json.Unmarshal(entry[field], &kv.Namespace)
			case "preview_id", "remote", "experimental_remote": // for wrangler dev
			default:
				err = fmt.Errorf("has the unknown key %q", clip(field))
			}
			if err != nil {
				return err
			}
		}
		if kv.Binding == "" {
			return errors.New(`needs a "binding" in every entry`)
		}
		s.KV = append(s.KV, kv)
	}
	if problem := checkKV(s.KV); problem != "" {
		return errors.New(problem)
	}
	return nil
}

// readServices takes bindings to the worker itself; there are no others. Whether
// one is, is known when the whole file is read.
func readServices(s *Settings, raw json.RawMessage) error {
	return json.Unmarshal(raw, &s.services)
}

// service is an entry of "services".
type service struct {
	Binding    string `json:"binding"`
	Service    string `json:"service"`
	Entrypoint string `json:"entrypoint"`
}

// takeServices keeps the bindings of a worker to itself, and refuses the rest.
func (s *Settings) takeServices() error {
	for _, to := range s.services {
		if to.Service != s.Name || s.Name == "" || to.Entrypoint != "" {
			return s.errorf("the setting \"services\" (%s) is not supported but for a worker's own name: there are no bindings between workers here. Call the other worker at its address with fetch", clip(to.Binding))
		}
		s.Self = append(s.Self, to.Binding)
	}
	return nil
}

func readAssets(s *Settings, raw json.RawMessage) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	a := &AssetSettings{}
	for _, field := range sortedKeys(fields) {
		var err error
		switch value := fields[field]; field {
		case "directory":
			err = readPath(value, &a.Directory)
		case "binding":
			err = json.Unmarshal(value, &a.Binding)
		case "html_handling":
			err = readChoice(value, &a.HTMLHandling, htmlHandlings)
		case "not_found_handling":
			err = readChoice(value, &a.NotFoundHandling, notFoundHandlings)
		case "run_worker_first":
			a.RunWorkerFirst, err = readWorkerFirst(value)
		default:
			if !empty(value) {
				err = errors.New("is not known here; remove it")
			}
		}
		if err != nil {
			return s.keyError("assets."+field, err)
		}
	}
	if len(fields) > 0 {
		s.Assets = a
	}
	return nil
}

var (
	htmlHandlings     = []string{"auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"}
	notFoundHandlings = []string{"none", "404-page", "single-page-application"}
)

func readChoice(raw json.RawMessage, into *string, allowed []string) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return err
	}
	if !slices.Contains(allowed, *into) {
		return fmt.Errorf("must be one of %s", strings.Join(allowed, ", "))
	}
	return nil
}

func readWorkerFirst(raw json.RawMessage) ([]string, error) {
	var always bool
	if json.Unmarshal(raw, &always) == nil {
		if always {
			return []string{"/*"}, nil
		}
		return nil, nil
	}
	var patterns []string
	if json.Unmarshal(raw, &patterns) != nil {
		return nil, errors.New("must be true, false or a list of path patterns")
	}
	if problem := checkPatterns(patterns); problem != "" {
		return nil, errors.New(problem)
	}
	return patterns, nil
}

func readBuild(s *Settings, raw json.RawMessage) error {
	var build struct {
		Command string `json:"command"`
		Cwd     string `json:"cwd"`
	}
	if err := json.Unmarshal(raw, &build); err != nil {
		return err
	}
	if strings.ContainsRune(build.Command+build.Cwd, 0) {
		return errors.New("must not contain a NUL byte")
	}
	s.BuildCommand, s.BuildDir = build.Command, build.Cwd
	return nil
}

// ruleTypes are wrangler's words for the kinds of modules.
var ruleTypes = map[string]models.ModuleType{
	"ESModule": models.ModuleES, "CommonJS": models.ModuleCommonJS, "Text": models.ModuleText,
	"Data": models.ModuleData, "CompiledWasm": models.ModuleWasm,
}

func readRules(s *Settings, raw json.RawMessage) error {
	var list []struct {
		Type        string   `json:"type"`
		Globs       []string `json:"globs"`
		Fallthrough bool     `json:"fallthrough"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	for _, r := range list {
		kind, ok := ruleTypes[r.Type]
		if !ok {
			return fmt.Errorf("has the type %q; known are %s", clip(r.Type), strings.Join(sortedKeys(ruleTypes), ", "))
		}
		if len(r.Globs) == 0 {
			return fmt.Errorf(`needs "globs" for the type %q`, r.Type)
		}
		for _, glob := range r.Globs {
			if _, err := compileGlob(glob); err != nil {
				return err
			}
		}
		s.Rules = append(s.Rules, Rule{Type: kind, Globs: r.Globs, Fallthrough: r.Fallthrough})
	}
	return nil
}
