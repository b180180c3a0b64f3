/*
 * Replays a fuzz target's corpus without libFuzzer, so that every input that was ever of interest
 * is a unit test.
 *
 * Arguments are files or folders of files. Each input is handed over in an allocation of exactly
 * its size: a read beyond its end is seen by AddressSanitizer. No input at all is a failure, since
 * nothing would have been tested.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static size_t replayed;

static void fail(const char *path, const char *what)
{
    fprintf(stderr, "replay: %s: %s\n", path, what);
    exit(1);
}

static void replay_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);

    if (f == NULL || data == NULL)
        fail(path, "cannot be opened");
    if (fread(data, 1, size, f) != size)
        fail(path, "cannot be read");
    fclose(f);
    if (size == 0) {
        free(data);
        data = NULL;
    }
    if (LLVMFuzzerTestOneInput(data, size) != 0)
        fail(path, "was refused by the target");
    free(data);
    replayed++;
}

static void replay(const char *path);

static void replay_folder(const char *path)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);

    if (count < 0)
        fail(path, "cannot be listed");
    for (int i = 0; i < count; i++) {
        char inner[4096];

        if (names[i]->d_name[0] != '.') {
            snprintf(inner, sizeof(inner), "%s/%s", path, names[i]->d_name);
            replay(inner);
        }
        free(names[i]);
    }
    free(names);
}

static void replay(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        fail(path, "does not exist");
    if (S_ISDIR(st.st_mode))
        replay_folder(path);
    else
        replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("replay: %zu inputs\n", replayed);
    return replayed == 0;
}
