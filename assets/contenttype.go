package assets

import (
	"net/http"
	"strings"
)

// MinCompressible and MaxCompressible bound what is worth precompressing, in
// bytes: below, the answer fits one packet anyway; above, it costs a build
// minutes and files of that size are downloads, not pages.
const (
	MinCompressible = 256
	MaxCompressible = 32 << 20
)

// ContentType names a file's type by its extension, else by its first bytes
// (up to 512 of them). The table is our own: the one of the operating system
// differs from machine to machine, and a release must not.
func ContentType(path string, first512 []byte) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if at := strings.LastIndexByte(name, '.'); at >= 0 {
		if contentType := typeOfExtension(strings.ToLower(name[at+1:])); contentType != "" {
			return contentType
		}
	}
	if len(first512) > 512 {
		first512 = first512[:512]
	}
	return http.DetectContentType(first512)
}

// Compressible says that a body of this type and size is worth storing in
// brotli and gzip as well.
func Compressible(contentType string, size int64) bool {
	if size < MinCompressible || size > MaxCompressible {
		return false
	}
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case strings.HasPrefix(kind, "text/"), strings.HasSuffix(kind, "+xml"), strings.HasSuffix(kind, "+json"):
		return true
	}
	switch kind {
	case "application/json", "application/javascript", "application/xml", "application/wasm",
		"application/rtf", "application/vnd.ms-fontobject", "application/x-sh",
		"font/ttf", "font/otf", "font/collection", "image/bmp", "image/x-icon", "model/obj", "model/gltf-binary":
		return true
	}
	return false
}

// typeOfExtension follows the IANA registry and, for scripts, RFC 9239.
func typeOfExtension(extension string) string {
	switch extension {
	case "html", "htm":
		return "text/html; charset=utf-8"
	case "css":
		return "text/css; charset=utf-8"
	case "js", "mjs", "cjs":
		return "text/javascript; charset=utf-8"
	case "json", "map", "topojson":
		return "application/json"
	case "jsonld":
		return "application/ld+json"
	case "geojson":
		return "application/geo+json"
	case "webmanifest":
		return "application/manifest+json"
	case "xml", "xsl", "xsd":
		return "application/xml"
	case "rss":
		return "application/rss+xml"
	case "atom":
		return "application/atom+xml"
	case "xhtml":
		return "application/xhtml+xml"
	case "txt", "text", "log", "conf", "ini":
		return "text/plain; charset=utf-8"
	case "md", "markdown":
		return "text/markdown; charset=utf-8"
	case "csv":
		return "text/csv; charset=utf-8"
	case "tsv":
		return "text/tab-separated-values; charset=utf-8"
	case "vtt":
		return "text/vtt; charset=utf-8"
	case "ics":
		return "text/calendar; charset=utf-8"
	case "vcf":
		return "text/vcard; charset=utf-8"
	case "yaml", "yml":
		return "application/yaml"
	case "toml":
		return "application/toml"
	case "wasm":
		return "application/wasm"
	case "pdf":
		return "application/pdf"
	case "rtf":
		return "application/rtf"
	case "zip":
		return "application/zip"
	case "gz", "tgz":
		return "application/gzip"
	case "zst":
		return "application/zstd"
	case "tar":
		return "application/x-tar"
	case "7z":
		return "application/x-7z-compressed"
	case "bin", "exe", "dmg", "iso", "deb", "dat":
		return "application/octet-stream"
	case "apk":
		return "application/vnd.android.package-archive"
	case "epub":
		return "application/epub+zip"
	case "svg":
		return "image/svg+xml"
	}
	return typeOfMedia(extension)
}

func typeOfMedia(extension string) string {
	switch extension {
	case "png", "gif", "webp", "avif", "bmp", "apng", "heic", "heif":
		return "image/" + extension
	case "jpg", "jpeg", "jfif":
		return "image/jpeg"
	case "tif", "tiff":
		return "image/tiff"
	case "ico", "cur":
		return "image/x-icon"
	case "jxl":
		return "image/jxl"
	case "woff", "woff2", "ttf", "otf":
		return "font/" + extension
	case "ttc":
		return "font/collection"
	case "eot":
		return "application/vnd.ms-fontobject"
	case "mp3":
		return "audio/mpeg"
	case "m4a":
		return "audio/mp4"
	case "wav", "flac", "aac":
		return "audio/" + extension
	case "oga", "ogg", "opus":
		return "audio/ogg"
	case "weba":
		return "audio/webm"
	case "mp4", "m4v":
		return "video/mp4"
	case "webm":
		return "video/webm"
	case "ogv":
		return "video/ogg"
	case "mov":
		return "video/quicktime"
	case "m3u8":
		return "application/vnd.apple.mpegurl"
	case "ts", "m2ts":
		return "video/mp2t"
	case "glb":
		return "model/gltf-binary"
	case "gltf":
		return "model/gltf+json"
	case "obj":
		return "model/obj"
	}
	return ""
}
