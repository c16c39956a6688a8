/* Runs the unit tests for valgrind: each in a fork of one process, instead of Criterion's way,
 * which starts the whole program anew for each of them. That costs a second and a half of
 * valgrind's time every time, a fork a few milliseconds. Two run at a time.
 *
 * The tests are the same objects. What Criterion's runner would do for them stands here: find
 * them in their section, set up, run, tear down, judge the end of the process. Usage:
 * unit-tests-in-process REPORT, which gets one line a test in the words of Criterion's XML. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

/* How the process of a test ends that skips itself; no test's own. */
enum { SKIPPED = 77 };

static const struct criterion_test *current;

static const struct criterion_test_extra_data *suite_of(const struct criterion_test *test)
{
	for (struct criterion_suite **suite = __start_cr_sts; suite < __stop_cr_sts; suite++) {
		if (*suite && strcmp((*suite)->name, test->category) == 0)
			return (*suite)->data;
	}
	return NULL;
}

/* These six are Criterion's own, which the tests' macros call. */

void criterion_internal_test_setup(void)
{
	const struct criterion_test_extra_data *suite = suite_of(current);
	if (suite && suite->init)
		suite->init();
	if (current->data->init)
		current->data->init();
}

void criterion_internal_test_main(void (*run)(void))
{
	run();
}

void criterion_internal_test_teardown(void)
{
	const struct criterion_test_extra_data *suite = suite_of(current);
	if (current->data->fini)
		current->data->fini();
	if (suite && suite->fini)
		suite->fini();
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
	if (!stats->passed)
		fprintf(stderr, "%s:%u: %s\n", stats->file, stats->line,
			stats->message ? stats->message : "failed");
}

void criterion_abort_test(void)
{
	exit(EXIT_FAILURE);
}

void criterion_skip_test(const char *format, ...)
{
	va_list args;
	fprintf(stderr, "[SKIP] %s::%s: ", current->category, current->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(SKIPPED);
}

/* As many as the machine of a test run has processors. */
enum { JOBS = 2 };

struct job {
	const struct criterion_test *test;
	pid_t child;
};

static void start(struct job *job, const struct criterion_test *test)
{
	fflush(NULL);
	*job = (struct job){.test = test, .child = fork()};
	if (job->child == 0) {
		current = test;
		test->test();
		exit(EXIT_SUCCESS);
	}
	if (job->child < 0) {
		perror("fork");
		exit(2);
	}
}

static bool has_passed(const struct criterion_test *test, int status)
{
	const struct criterion_test_extra_data *suite = suite_of(test);
	int signal = test->data->signal ? test->data->signal : suite ? suite->signal : 0;
	int exit_code = test->data->exit_code ? test->data->exit_code
			: suite               ? suite->exit_code
					      : 0;

	if (WIFSIGNALED(status))
		return WTERMSIG(status) == signal;
	return signal == 0 && WEXITSTATUS(status) == exit_code;
}

static bool report_result(FILE *report, const struct criterion_test *test, const char *status)
{
	bool has_failed = strcmp(status, "FAILED") == 0;

	if (has_failed)
		fprintf(stderr, "[FAIL] %s::%s\n", test->category, test->name);
	fprintf(report, "<testcase name=\"%s\" status=\"%s\">\n", test->name, status);
	return !has_failed;
}

/* Waits for whichever ends first and frees its place, which is returned. */
static struct job *end_one(struct job *jobs, FILE *report, bool *all_passed)
{
	int status;
	pid_t child = wait(&status);

	for (struct job *job = jobs; job < jobs + JOBS; job++) {
		if (child > 0 && job->child == child) {
			const char *how = WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED
					      ? "SKIPPED"
					  : has_passed(job->test, status) ? "PASSED"
									  : "FAILED";
			if (!report_result(report, job->test, how))
				*all_passed = false;
			*job = (struct job){0};
			return job;
		}
	}
	perror("wait");
	exit(2);
}

int main(int argc, char **argv)
{
	FILE *report = argc == 2 ? fopen(argv[1], "w") : NULL;
	if (!report) {
		fprintf(stderr, "usage: unit-tests-in-process REPORT\n");
		return 2;
	}
	struct job jobs[JOBS] = {0};
	int running = 0;
	bool all_passed = true;
	for (struct criterion_test **item = __start_cr_tst; item < __stop_cr_tst; item++) {
		const struct criterion_test *test = *item;
		if (!test)
			continue;
		if (test->data->disabled) {
			report_result(report, test, "SKIPPED");
			continue;
		}
		struct job *place =
		    running < JOBS ? &jobs[running++] : end_one(jobs, report, &all_passed);
		start(place, test);
	}
	for (; running > 0; running--)
		end_one(jobs, report, &all_passed);
	return fclose(report) == 0 && all_passed ? EXIT_SUCCESS : EXIT_FAILURE;
}
