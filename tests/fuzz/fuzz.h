/* What a fuzz target defines; libFuzzer or replay.c calls it. */
#ifndef MU_TESTS_FUZZ_H
#define MU_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/**
 * Feed one input to the code under test. A finding is a crash, a sanitizer's report or a failed
 * assertion.
 * Returns:  0.
 * Owns:     the caller keeps data; it is exactly `size` bytes long and no NUL follows it.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
