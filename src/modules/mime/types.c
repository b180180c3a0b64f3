/* Reading mime.types, and a table for machines that have none.
 *
 * The table holds what websites commonly serve (IANA media type registry, RFC 9239 for JavaScript); an
 * administrator who wants more installs the distribution's media-types package.
 */
#include "types.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const builtin[] = {
    "text/html html htm shtml",
    "text/css css",
    "text/plain txt text log conf def list in asc",
    "text/javascript js mjs",
    "text/csv csv",
    "text/xml xml",
    "text/markdown md markdown",
    "text/calendar ics",
    "text/vtt vtt",
    "text/vcard vcf",
    "text/x-sh sh",
    "application/json json map",
    "application/ld+json jsonld",
    "application/manifest+json webmanifest",
    "application/wasm wasm",
    "application/pdf pdf",
    "application/xhtml+xml xhtml xht",
    "application/rss+xml rss",
    "application/atom+xml atom",
    "application/zip zip",
    "application/gzip gz",
    "application/x-tar tar",
    "application/x-bzip2 bz2",
    "application/x-xz xz",
    "application/zstd zst",
    "application/x-7z-compressed 7z",
    "application/vnd.rar rar",
    "application/java-archive jar",
    "application/rtf rtf",
    "application/msword doc",
    "application/vnd.ms-excel xls",
    "application/vnd.ms-powerpoint ppt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation pptx",
    "application/vnd.oasis.opendocument.text odt",
    "application/vnd.oasis.opendocument.spreadsheet ods",
    "application/vnd.oasis.opendocument.presentation odp",
    "application/postscript ps eps ai",
    "application/epub+zip epub",
    "application/yaml yaml yml",
    "application/sql sql",
    "application/octet-stream bin exe dll iso img dmg msi",
    "application/x-debian-package deb udeb",
    "image/png png",
    "image/jpeg jpeg jpg jpe",
    "image/gif gif",
    "image/webp webp",
    "image/avif avif",
    "image/svg+xml svg svgz",
    "image/vnd.microsoft.icon ico",
    "image/bmp bmp",
    "image/tiff tiff tif",
    "image/heic heic",
    "image/jxl jxl",
    "font/woff woff",
    "font/woff2 woff2",
    "font/ttf ttf",
    "font/otf otf",
    "font/collection ttc",
    "audio/mpeg mp3 mpga mp2",
    "audio/ogg ogg oga opus spx",
    "audio/flac flac",
    "audio/aac aac",
    "audio/x-wav wav",
    "audio/mp4 m4a",
    "audio/midi mid midi kar",
    "audio/webm weba",
    "video/mp4 mp4 m4v",
    "video/webm webm",
    "video/ogg ogv",
    "video/mpeg mpeg mpg mpe",
    "video/quicktime qt mov",
    "video/x-msvideo avi",
    "video/x-matroska mkv",
    "video/mp2t ts",
    "model/gltf+json gltf",
    "model/gltf-binary glb",
};

static bool next_word(struct mu_str *rest, struct mu_str *word)
{
    struct mu_str s = mu_str_trim(*rest);
    size_t n = 0;

    while (n < s.n && !mu_is_space(s.p[n]))
        n++;
    *word = mu_str_sub(s, 0, n);
    *rest = mu_str_sub(s, n, s.n);
    return n > 0;
}

/* `line` lives as long as the map. */
static enum mu_rc add_line(struct mu_arena *a, struct mu_map *types, struct mu_str line)
{
    struct mu_str word, *type;

    if (!next_word(&line, &word) || word.p[0] == '#')
        return MU_OK;
    type = mu_new(a, struct mu_str);
    if (!type)
        return MU_NOMEM;
    *type = word;
    while (next_word(&line, &word)) {
        if (mu_map_set(types, word, type) != MU_OK)
            return MU_NOMEM;
    }
    return MU_OK;
}

enum mu_rc mime_types_load(struct mu_arena *a, const char *path, struct mu_map *types)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    enum mu_rc rc = MU_OK;

    if (!f)
        return MU_NOENT;
    while (rc == MU_OK && (n = getline(&line, &cap, f)) >= 0) {
        struct mu_str kept = mu_str_dup(a, mu_str_n(line, (size_t)n));

        rc = kept.p ? add_line(a, types, kept) : MU_NOMEM;
    }
    if (rc == MU_OK && ferror(f))
        rc = MU_EIO;
    free(line);
    (void)fclose(f);
    return rc;
}

enum mu_rc mime_types_builtin(struct mu_arena *a, struct mu_map *types)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(builtin); i++) {
        if (add_line(a, types, mu_str_c(builtin[i])) != MU_OK)
            return MU_NOMEM;
    }
    return MU_OK;
}
