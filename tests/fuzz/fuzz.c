/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libFuzzer's entry point, built for each row of targets.h with -DTARGET="NAME". scripts/fuzz
 * builds and runs the programs.
 */
#include "tests/fuzz/targets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < TARGET_COUNT; i++) {
		if (strcmp(targets[i].name, TARGET) == 0)
			targets[i].run(data, len);
	}
	return 0;
}
