# Completion of trace-cmd for fish: the program itself says what can stand at the cursor.

function __trace_cmd_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    for line in ($words[1] complete -- $words[2..-1] "$typed" 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path "$typed"
            case ':command'
                __fish_complete_command
            case '*'
                echo $line
        end
    end
end

complete -c trace-cmd -f -a '(__trace_cmd_complete)'
