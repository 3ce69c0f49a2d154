# Reads lines of process ids, of which the last one counts, until the test process closes the pipe or is gone. Then it
# kills those processes, or process groups if negative, and removes the folder $1.
while read -r line; do pids=$line; done

# shellcheck disable=SC2086 # one word for each process
[ -z "$pids" ] || kill -s KILL -- $pids

# PostgreSQL keeps a few bytes of System V shared memory, which outlive a kill -9 and of which there are only so many.
if [ -f "$1/data/postmaster.pid" ]; then
	read -r _ segment <<-LINE
		$(sed -n 7p "$1/data/postmaster.pid")
	LINE
	[ -z "$segment" ] || ipcrm -m "$segment"
fi

# A process that is being killed may still write.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf -- "$1" && break
	sleep 1
done
