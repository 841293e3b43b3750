/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests without a second thread: ThreadSanitizer has nothing to see there and takes ten times as long. With it they are built, and left out. */
#pragma once

#ifdef __SANITIZE_THREAD__
/* cmocka passes over what has no name */
#define one_thread_test_in(f, setup, teardown)                                                     \
	{                                                                                          \
		.test_func = (f), .setup_func = (setup), .teardown_func = (teardown)               \
	}
#else
#define one_thread_test_in(f, setup, teardown) cmocka_unit_test_setup_teardown(f, setup, teardown)
#endif
#define one_thread_test(f) one_thread_test_in(f, NULL, NULL)
