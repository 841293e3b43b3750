/* SPDX-License-Identifier: BSD-3-Clause */
/* libFuzzer's entry point for packets in the loop of a worker. scripts/fuzz builds and runs the program. */
#include "wire_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool begun;

	if (!begun) {
		role_enter_main();
		role_enter_worker();
		rig_begin();
		begun = true;
	}
	run_input(data, len);
	return 0;
}
