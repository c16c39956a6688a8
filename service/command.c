#include "service/store_internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- Statuses */

static const char *const names[STATUS_COUNT] = {
    [STATUS_CREATED] = "CREATED", [STATUS_PENDING] = "PENDING", [STATUS_PROCESSING] = "PROCESSING",
    [STATUS_SUCCESS] = "SUCCESS", [STATUS_FAILURE] = "FAILURE", [STATUS_REJECTED] = "REJECTED",
    [STATUS_EXPIRED] = "EXPIRED", [STATUS_PURGED] = "PURGED",   [STATUS_ERROR] = "ERROR",
    [STATUS_UNSENT] = "UNSENT",
};

const char *status_name(enum command_status status)
{
	return names[status];
}

enum command_status status_find(const char *name)
{
	int status = STATUS_CREATED;
	while (status < STATUS_COUNT && strcmp(names[status], name) != 0)
		status++;
	return (enum command_status)status;
}

bool status_is_terminal(enum command_status status)
{
	return status >= STATUS_SUCCESS && status <= STATUS_ERROR;
}

/* ---- Ids: UUIDs of version 7 (RFC 9562) that hold seq and 62 random bits */

void store_id_write(int64_t seq, uint64_t salt, char id[UUID_TEXT_SIZE])
{
	uint64_t time_ms = (uint64_t)seq >> STORE_SEQ_BITS;
	(void)snprintf(id, UUID_TEXT_SIZE,
		       "%08" PRIx64 "-%04" PRIx64 "-7%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
		       time_ms >> 16, time_ms & 0xFFFF, (uint64_t)seq & 0xFFF, 0x8000 | salt >> 48,
		       salt & 0xFFFFFFFFFFFF);
}

static bool is_uuid(const char *id)
{
	for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (is_dash ? id[i] != '-' : !isxdigit((unsigned char)id[i]))
			return false;
	}
	return id[UUID_TEXT_SIZE - 1] == '\0';
}

static uint64_t hex_digits(const char *text, size_t count)
{
	uint64_t number = 0;
	for (size_t i = 0; i < count; i++) {
		char digit = text[i];
		unsigned value =
		    digit <= '9' ? (unsigned)(digit - '0') : (unsigned)((digit | 0x20) - 'a' + 10);
		number = number << 4 | value;
	}
	return number;
}

int64_t command_seq(const char *id)
{
	if (!is_uuid(id) || id[14] != '7')
		return 0;
	uint64_t time_ms = hex_digits(id, 8) << 16 | hex_digits(id + 9, 4);
	return (int64_t)(time_ms << STORE_SEQ_BITS | hex_digits(id + 15, 3));
}

int64_t store_seq_of(int64_t time_ms)
{
	return time_ms * (1 << STORE_SEQ_BITS); /* dates before 1970 are negative */
}
