# Completion of trace-cmd for bash: the program itself says what can stand at the cursor.

_trace_cmd() {
	local word line glued='' cur kept='' words=()
	local breaks=${COMP_WORDBREAKS//[^:=]/} i
	# Bash takes words apart at : and =.
	for ((i = 1; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((${#words[@]})) && [[ -n $glued || $word == [:=]* ]]; then
			words[-1]+=$word
		else
			words+=("$word")
		fi
		[[ $word == [:=]* ]] && glued=yes || glued=''
	done
	cur=${words[-1]-}
	# Of a candidate, only what is behind the last of these is put in.
	[[ -n $breaks && $cur == *["$breaks"]* ]] && kept=${cur%"${cur##*["$breaks"]}"}
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:files) compopt -o default 2>/dev/null ;;
		:command)
			compopt -o default 2>/dev/null
			while IFS= read -r word; do
				COMPREPLY+=("$word")
			done < <(compgen -c -- "$cur")
			;;
		*)
			line=${line%%$'\t'*}
			COMPREPLY+=("${line#"$kept"}")
			;;
		esac
	done < <("${1/#\~/$HOME}" complete -- "${words[@]}" 2>/dev/null)
}

complete -F _trace_cmd trace-cmd
