/* SPDX-License-Identifier: BSD-3-Clause */
/* libFuzzer's entry point for labelled packets. scripts/fuzz builds and runs the program. */
#include "mpls_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool begun;

	if (!begun) {
		role_enter_main();
		role_enter_worker();
		reader_begin();
		begun = true;
	}
	run_input(data, len);
	return 0;
}
