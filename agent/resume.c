#include "agent/resume.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

static struct command *command_of_done_row(const struct journal_row *row)
{
	struct command *command = command_new_done(row->id);
	command->answer.status = row->status;
	command->answer.ended_at_ms = row->ended_at_ms;
	command->answer_size = row->answer_size;
	command->answer.http_status = row->http_status;
	command->is_unloaded = true;
	return command;
}

/* Its source may have forgotten it since: it has to be told how it ended. */
static struct command *command_of_damaged_row(const struct journal_row *row)
{
	struct command *command = command_new_done(row->id);
	log_error("journal: command %s was changed by the disk: it is not executed", row->id);
	answer_fail(&command->answer, "INTERRUPTED", NULL,
		    "The command was damaged on the disk of the agent that had it: %s",
		    row->state == COMMAND_EXECUTING
			? "whether its request was made is not known. It was not repeated"
			: "its request was not made");
	return command;
}

static struct command *command_of_row(const struct journal_row *row, struct problems *problems)
{
	struct json_object *json = NULL;
	struct command *command = NULL;
	struct error err, problem;
	if (row->state == COMMAND_DONE)
		return command_of_done_row(row);
	if (!row->is_damaged &&
	    command_read_text(row->text, row->text_size, &json, &problem, &err) == 0) {
		if (problem.code != 0)
			problems_add(problems, "%s", problem.message);
		command = command_new(json, problems, &err);
	}
	json_object_put(json);
	return command != NULL ? command : command_of_damaged_row(row);
}

struct command *resume_command(const struct journal_row *row, struct problems *problems)
{
	struct command *command = command_of_row(row, problems);
	if (command->state == COMMAND_DONE) {
		command->upload_url = row->upload_url != NULL ? mem_strdup(row->upload_url) : NULL;
		command->expires_at_ms = row->expires_at_ms;
	}
	command->receipt = row->receipt != NULL ? mem_strdup(row->receipt) : NULL;
	command->attempt = row->attempt;
	command->received_at_ms = row->received_at_ms;
	command->journal_seq = row->seq;
	command->journal_answer = row->answer;
	command->text_row = row->text_row;
	command->stored_text_size = row->text_size;
	command->has_text_file = row->has_text_file;
	command->text_checksum = row->text_checksum;
	command->is_stored = true;
	command->is_interrupted = row->state == COMMAND_EXECUTING || row->attempt > 1;
	return command;
}
