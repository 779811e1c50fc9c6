package peer;

import org.springframework.beans.factory.annotation.Qualifier;
import org.springframework.context.annotation.Lazy;
import org.springframework.messaging.Message;
import org.springframework.messaging.MessageChannel;
import org.springframework.messaging.MessageHandler;
import org.springframework.messaging.simp.broker.SimpleBrokerMessageHandler;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompHeaderAccessor;
import org.springframework.messaging.support.ExecutorChannelInterceptor;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.stereotype.Component;

/** Answers SUBSCRIBE with the RECEIPT that it asks for: the simple broker itself has none. */
@Component
public class Receipts implements ExecutorChannelInterceptor {
    private final MessageChannel outbound;

    public Receipts(@Lazy @Qualifier("clientOutboundChannel") MessageChannel outbound) {
        this.outbound = outbound;
    }

    @Override
    public void afterMessageHandled(
            Message<?> message, MessageChannel channel, MessageHandler handler, Exception error) {
        if (!(handler instanceof SimpleBrokerMessageHandler)) {
            return;
        }
        StompHeaderAccessor asked = StompHeaderAccessor.wrap(message);
        if (asked.getCommand() == StompCommand.SUBSCRIBE && asked.getReceipt() != null) {
            StompHeaderAccessor answer = StompHeaderAccessor.create(StompCommand.RECEIPT);
            answer.setReceiptId(asked.getReceipt());
            answer.setSessionId(asked.getSessionId());
            outbound.send(MessageBuilder.createMessage(new byte[0], answer.getMessageHeaders()));
        }
    }
}
